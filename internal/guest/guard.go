package guest

// Guard keeps a guest from being used after it broke: some hosts go on calling an
// instance that trapped. Each entry sets a flag that only a clean exit clears.
type Guard struct{ entered bool }

// Run runs an entry. It is false, and stays so for this guest, if this entry or
// an earlier one panicked or never came back: the host must be told to refuse.
func (g *Guard) Run(entry func()) (clean bool) {
	if g.entered {
		return false
	}
	g.entered = true
	defer func() {
		// A panic that is not recovered ends the process in some hosts, and in others
		// the next statement of a half-dead guest runs.
		_ = recover()
	}()
	entry()
	g.entered = false
	return true
}
