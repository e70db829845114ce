//go:build sgtest

package guest

import "sessiongate/verifier/filter"

// sabotage breaks the guest in the way that a request asks for in a header, which a
// policy has to name among its sources to have guests see it.
func sabotage(req *filter.Request) {
	for i := range req.Headers {
		if req.Headers[i].Name != "x-sabotage" {
			continue
		}
		switch req.Headers[i].Value {
		case "panic":
			panic("asked for")
		case "trap":
			select {} // a deadlock, which no recover catches
		case "loop":
			for forever := true; forever; forever = len(req.Headers) > 0 {
			}
		case "memory":
			var hoard [][]byte
			for {
				hoard = append(hoard, make([]byte, 1<<20))
			}
		}
	}
}
