package main

import "syscall"

// dropOverride drops CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH from the bounding set.
// Without the right to do so, this process has neither.
func dropOverride() {
	const capBoundingSetDrop = 24 // PR_CAPBSET_DROP of prctl(2)
	for _, capability := range []uintptr{1, 2} {
		_, _, _ = syscall.Syscall(syscall.SYS_PRCTL, capBoundingSetDrop, capability, 0)
	}
}
