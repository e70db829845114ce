//go:build unix && !linux

package main

// dropOverride has nothing to drop where tests do not run as root.
func dropOverride() {}
