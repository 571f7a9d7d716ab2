//go:build !linux

// Command beside runs the gateway beside other proxies; it needs Linux, since it reads
// processor times from /proc and waits with epoll.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "beside: needs Linux")
	os.Exit(1)
}
