//go:build sgtest

package plugin

// sabotage breaks a guest in the way that a request asks for in a header, or that the
// policy asks for in its realm when it starts.
func sabotage(where string, v *VM) {
	how := ""
	if where == "start" {
		for _, r := range v.roots {
			if r.setup != nil {
				how = r.policy.Realm
			}
		}
	} else {
		for _, f := range v.fields {
			if f.Name == "x-sabotage" {
				how = f.Value
			}
		}
	}
	switch how {
	case "panic":
		panic("asked for")
	case "trap":
		select {} // a deadlock, which no recover catches
	case "loop":
		for forever := true; forever; forever = v.entered {
		}
	case "memory":
		for {
			v.out = append(v.out, make([]byte, 1<<20)...)
		}
	case "worker-start-trap":
		// The first two starts are the proxy's trial and its main thread.
		if v.nth() > 2 {
			select {}
		}
	case "worker-start-panic":
		if v.nth() > 2 {
			panic("asked for")
		}
	}
}

// nth counts the starts on all threads.
func (v *VM) nth() uint32 {
	const key = "sabotage"
	for {
		value, cas, _ := v.host.SharedGet(key)
		n := uint32(1)
		if value != "" {
			n = uint32At(value, 0) + 1
		}
		if v.host.SharedSet(key, appendUint32(nil, n), cas) == StatusOK {
			return n
		}
	}
}
