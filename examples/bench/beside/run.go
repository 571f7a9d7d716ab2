//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// options are what a run is.
type options struct {
	rounds      int
	last        time.Duration
	cells, only []string
	solo        string
}

// cell is one kind of load.
type cell struct {
	name, path string
	conns      int
	rate       float64
}

var cells = []cell{
	{"sat64", "/1k", 64, 0},         // 64 callers, each as fast as it is answered
	{"sat512", "/1k", 512, 0},       // the same with more of them
	{"big64", "/64k", 64, 0},        // the cost of bytes
	{"slow512", "/delay", 512, 0},   // many calls under way
	{"open5000", "/1k", 256, 5_000}, // 5000 calls a second, come what may: a gateway with little to do
}

// measure is one cell of one proxy in one round.
type measure struct {
	micros float64 // of processor time for a call
	result
}

func (o options) run(stop <-chan os.Signal) error {
	folder, err := os.MkdirTemp("", "beside")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }() // among temporary files
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if o.solo == "" {
		o.solo = filepath.Join(folder, "solo")
		build := exec.Command("go", "build", "-o", o.solo, "github.com/souk-market/souk/examples/bench/solo")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build solo: %w", err)
		}
	}
	behind, err := begin([]string{self, "upstream", "-port", strconv.Itoa(upstreamPort)}, os.Stderr, loadCore)
	if err != nil {
		return err
	}
	defer end(behind)
	var ready []*proxy
	for i, p := range proxies(self, o.solo) {
		if len(o.only) > 0 && !slices.Contains(o.only, p.name) {
			continue
		}
		if _, err := exec.LookPath(p.program); err != nil {
			fmt.Printf("%s is left out: there is no %s here\n", p.name, p.program)
			continue
		}
		defer p.stop()
		if err := p.start(folder, firstPort+i); err != nil {
			return err
		}
		ready = append(ready, p)
	}
	all := map[string]map[string][]measure{} // cell, proxy, rounds
	for round := range o.rounds {
		for _, c := range cells {
			if len(o.cells) > 0 && !slices.Contains(o.cells, c.name) {
				continue
			}
			if all[c.name] == nil {
				all[c.name] = map[string][]measure{}
			}
			for i := range ready { // each round begins with another one
				p := ready[(i+round)%len(ready)]
				select {
				case <-stop:
					return errors.New("stopped")
				default:
				}
				m, err := p.measure(self, c, o.last, round)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, c.name, err)
				}
				all[c.name][p.name] = append(all[c.name][p.name], m)
				fmt.Printf("round %d  %-8s %-9s %6.1f µs a call  %8.0f/s  p50 %6.0f µs  p99 %7.0f µs  bad %d\n", round+1, p.name, c.name, m.micros, m.Rate, m.P50, m.P99, m.Bad)
			}
		}
	}
	return report(ready, all)
}

func (p *proxy) measure(self string, c cell, last time.Duration, round int) (m measure, err error) {
	args := []string{"load", "-port", strconv.Itoa(p.port), "-path", c.path, "-conns", strconv.Itoa(c.conns), "-last", last.String(),
		"-seed", strconv.Itoa(round + 1), "-rate", strconv.FormatFloat(c.rate, 'f', -1, 64)}
	for _, h := range p.headers(c.path) {
		args = append(args, "-header", h)
	}
	before, err := processorTime(p.process.Process.Pid)
	if err != nil {
		return m, err
	}
	var text bytes.Buffer
	command := exec.Command(self, args...)
	command.Stdout, command.Stderr = &text, os.Stderr
	if err := started(command); err != nil {
		return m, err
	}
	if err := json.Unmarshal(text.Bytes(), &m.result); err != nil {
		return m, err
	}
	after, err := processorTime(p.process.Process.Pid)
	if err != nil {
		return m, err
	}
	m.micros = float64((after - before).Microseconds()) / float64(max(1, m.Sent))
	return m, nil
}

// started starts a load beside the server behind, and waits for its end.
func started(c *exec.Cmd) error {
	if err := loadCore.start(c); err != nil {
		return err
	}
	return c.Wait()
}

// processorTime is what a program and those that it started have used so far.
func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	sum := time.Duration(ticks) * (time.Second / 100) // USER_HZ, which is fixed
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return sum, nil // a kernel without that list; then there are no children to speak of
	}
	for _, child := range strings.Fields(string(children)) {
		n, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		more, err := processorTime(n)
		if err != nil {
			return 0, err
		}
		sum += more
	}
	return sum, nil
}

// report prints medians, and the ratios to each other proxy, paired within rounds.
func report(ready []*proxy, all map[string]map[string][]measure) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\ncell\tproxy\tµs a call\tcalls/s\tp50 µs\tp99 µs\tsouk ÷ it (least–most)\n")
	for _, c := range cells {
		for _, p := range ready {
			list := all[c.name][p.name]
			if len(list) == 0 {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%.1f\t%.0f\t%.0f\t%.0f\t%s\n", c.name, p.name,
				median(list, func(m measure) float64 { return m.micros }), median(list, func(m measure) float64 { return m.Rate }),
				median(list, func(m measure) float64 { return m.P50 }), median(list, func(m measure) float64 { return m.P99 }),
				ratio(all[c.name]["souk"], list, p.name))
		}
	}
	return w.Flush()
}

func ratio(ours, its []measure, name string) string {
	if name == "souk" || len(ours) != len(its) {
		return ""
	}
	var ratios []float64
	for i := range ours {
		if its[i].micros > 0 {
			ratios = append(ratios, ours[i].micros/its[i].micros)
		}
	}
	if len(ratios) == 0 {
		return ""
	}
	slices.Sort(ratios)
	return fmt.Sprintf("%.2f (%.2f–%.2f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
}

func median(list []measure, of func(measure) float64) float64 {
	values := make([]float64, len(list))
	for i, m := range list {
		values[i] = of(m)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
