//go:build linux

// Command beside runs the gateway beside other proxies that do like work, and says what a
// call costs each of them in processor time, and how that relates within one run.
//
// All proxies run at once, and one of them is driven at a time, in short cells that take
// turns, so that whatever else the machine does falls on all alike. The proxy that is
// driven has one core for itself; who drives it and the server behind it share another.
//
//	floor    an event loop of ours that only finds the ends of messages: the limit
//	nginx    key map and a rate limit by key; no signature, no count of calls
//	haproxy  key map, HMAC-SHA256 of the request, a counter and a rate for each key
//	souk     everything that a paid call needs
//
// It is its own upstream and its own load, so nginx and haproxy of any distribution are all
// that it wants to find. A proxy that is not installed is left out, with a line that says so.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

func main() {
	role := "run"
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		role = os.Args[1]
		os.Args = append(os.Args[:1], os.Args[2:]...)
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, "beside:", err)
		os.Exit(1)
	}
}

func play(role string) error {
	switch role {
	case "run":
		return runAll()
	case "upstream":
		port := flag.Int("port", 0, "port of loopback")
		flag.Parse()
		lone()
		return upstream(*port)
	case "floor":
		port := flag.Int("port", 0, "port of loopback")
		to := flag.Int("upstream", 0, "port of the server behind")
		flag.Parse()
		lone()
		return floor(*port, *to)
	case "load":
		var l load
		flag.IntVar(&l.port, "port", 0, "port of loopback")
		flag.StringVar(&l.path, "path", "/1k", "what is asked for")
		flag.IntVar(&l.conns, "conns", 64, "connections")
		flag.Float64Var(&l.rate, "rate", 0, "calls a second, come what may; 0: as many as are answered")
		flag.DurationVar(&l.warm, "warm", 200*time.Millisecond, "time before the count begins")
		flag.DurationVar(&l.last, "last", time.Second, "time that is counted")
		flag.Int64Var(&l.seed, "seed", 1, "of the times at which calls are due")
		flag.Func("header", "a whole line, repeatable", func(s string) error { l.headers = append(l.headers, s); return nil })
		flag.Parse()
		lone()
		return l.run()
	}
	return fmt.Errorf("no role %q: run, upstream, floor or load", role)
}

// lone makes this a program of one thread that never collects: all its memory is made when
// connections are.
func lone() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 30)
	runtime.LockOSThread()
}

func runAll() error {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often each cell is measured")
	flag.DurationVar(&o.last, "last", time.Second, "length of a cell")
	cells := flag.String("cells", "", "names, with commas between; empty: all")
	only := flag.String("only", "", "proxies, with commas between; empty: all")
	flag.StringVar(&o.solo, "solo", "", "the program of examples/bench/solo; empty: it is built")
	flag.Parse()
	o.cells, o.only = split(*cells), split(*only)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	return o.run(stop)
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
