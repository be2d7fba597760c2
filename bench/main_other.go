//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: measures processes through /proc, and so runs on Linux only")
	os.Exit(1)
}
