//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// load drives one proxy and says how it went.
type load struct {
	port, conns int
	path        string
	headers     []string
	rate        float64
	warm, last  time.Duration
	seed        int64
}

// result is what a load prints.
type result struct {
	Sent   int     `json:"sent"` // in all, so that processor time can be divided by it
	Good   int     `json:"good"` // of those that were counted
	Bad    int     `json:"bad"`
	Rate   float64 `json:"rate"`
	P50    float64 `json:"p50"` // microseconds, from when a call was due
	P99    float64 `json:"p99"`
	Unsent int     `json:"unsent"` // due, and never sent
}

type caller struct {
	fd    int
	due   time.Time
	busy  bool
	reply reply
}

func (o load) run() error {
	request := []byte("GET " + o.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: beside\r\n" + strings.Join(append(o.headers, ""), "\r\n") + "\r\n")
	l, err := newLoop()
	if err != nil {
		return err
	}
	callers := map[int]*caller{}
	var idle []*caller
	open := func() error {
		fd, err := dial(o.port)
		if err != nil {
			return err
		}
		c := &caller{fd: fd}
		callers[fd] = c
		idle = append(idle, c)
		return l.add(fd, readable)
	}
	for range o.conns {
		if err := open(); err != nil {
			return err
		}
	}
	var r result
	took := make([]int64, 0, 1<<20)
	random := rand.New(rand.NewPCG(uint64(o.seed), 7))
	begun := time.Now()
	from, until := begun.Add(o.warm), begun.Add(o.warm+o.last)
	next := begun
	var late []time.Time // due, with no connection free
	send := func(due time.Time) {
		c := idle[len(idle)-1]
		idle = idle[:len(idle)-1]
		c.due, c.busy = due, true
		if write(c.fd, request) != len(request) {
			r.Bad++
		}
		r.Sent++
	}
	for giveUp := until.Add(5 * time.Second); ; {
		now := time.Now()
		if now.After(giveUp) {
			return errors.New("calls were not answered")
		}
		wait := 50 * time.Millisecond
		if o.rate == 0 {
			for now.Before(until) && len(idle) > 0 {
				send(now)
			}
		} else {
			for !next.After(now) && next.Before(until) {
				late = append(late, next)
				// Gaps of a Poisson stream: calls come by chance, not in step.
				next = next.Add(time.Duration(-math.Log(1-random.Float64()) / o.rate * 1e9))
			}
			for len(late) > 0 && len(idle) > 0 {
				send(late[0])
				late = late[1:]
			}
			if next.Before(until) {
				wait = max(0, time.Until(next))
			}
		}
		if !now.Before(until) && len(idle) == len(callers) {
			break
		}
		for _, e := range l.wait(wait) {
			c := callers[int(e.Fd)]
			b, ok := l.read(c.fd)
			if ok && len(b) == 0 {
				continue
			}
			done := false
			if ok {
				if done, err = c.reply.take(b); err != nil {
					ok = false
				}
			}
			if done || !ok {
				if now := time.Now(); c.busy && !c.due.Before(from) && c.due.Before(until) {
					if done && c.reply.good {
						r.Good++
						took = append(took, int64(now.Sub(c.due)))
					} else {
						r.Bad++
					}
				}
			}
			switch {
			case !ok:
				_ = syscall.Close(c.fd) // it has ended
				delete(callers, c.fd)
				idle = slices.DeleteFunc(idle, func(x *caller) bool { return x == c })
				if err := open(); err != nil {
					return err
				}
			case done:
				c.busy = false
				idle = append(idle, c)
			}
		}
	}
	r.Unsent = len(late)
	r.Rate = float64(r.Good) / o.last.Seconds()
	slices.Sort(took)
	if n := len(took); n > 0 {
		r.P50, r.P99 = float64(took[n/2])/1000, float64(took[n*99/100])/1000
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
