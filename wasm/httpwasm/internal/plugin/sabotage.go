//go:build sgtest

package plugin

import "strings"

// sabotage breaks a guest in the way that a request asks for in a header, or that the
// policy asks for in its realm when it starts.
func sabotage(where string, p *Plugin) {
	how := ""
	if where == "start" {
		how, _ = strings.CutPrefix(p.setup.policy.Realm, "start-")
	} else {
		how, _, _ = p.host.Values(RequestHeaders, "x-sabotage")
		how = strings.TrimSuffix(how, "\x00")
	}
	switch how {
	case "panic":
		panic("asked for")
	case "nil":
		p.setup = nil
		p.setup.policy.Realm = ""
	case "trap":
		select {} // a deadlock, which no recover catches
	case "host-trap":
		p.host.SetURI("\x00") // what the proxy panics at
	case "loop":
		for forever := true; forever; forever = where != "" {
		}
	case "memory":
		var hoard [][]byte
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	}
}
