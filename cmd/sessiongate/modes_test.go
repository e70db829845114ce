//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// obeyingModes runs a command for which the modes of files hold, root or not: it
// drops the capability that lets root write where nobody may, and becomes the
// command.
func obeyingModes() {
	runtime.LockOSThread() // what is dropped is this thread's, and exec keeps it
	dropOverride()
	path, err := exec.LookPath(os.Args[1])
	if err == nil {
		err = syscall.Exec(path, os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "obeying-modes:", err)
	os.Exit(125)
}
