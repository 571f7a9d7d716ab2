package quota_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// TestMain runs the test binary as a node that calls until it is killed, when asked to.
func TestMain(m *testing.M) {
	if folder := os.Getenv("SOUK_QUOTA_NODE"); folder != "" {
		spendUntilKilled(folder)
		return
	}
	os.Exit(m.Run())
}

// spendUntilKilled charges calls on four goroutines and says each that was charged, as an
// answer would: after Settle has returned.
func spendUntilKilled(folder string) {
	n := start(panicky{}, folder)
	var out sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				h, err := n.Reserve(app, product)
				if errors.Is(err, gate.QuotaExhausted) {
					return
				}
				if err != nil {
					panic(err)
				}
				if (i+g)%7 == 0 {
					n.Void(h) // the seller failed
					r := record(h)
					r.Package, r.Serial, r.Outcome, r.Status = "", -1, control.Free, 502
					n.journal.Note(r)
					out.Lock()
					fmt.Println(free)
					out.Unlock()
					continue
				}
				if err := n.Settle(h, record(h)); err != nil {
					panic(err)
				}
				out.Lock()
				fmt.Printf("%s %d\n", h.Package, h.Serial)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	n.close()
}

// free is what the node says of a call that was noted.
const free = "free"

// panicky is a testing.TB for a process that is no test.
type panicky struct{ testing.TB }

func (panicky) Helper()           {}
func (panicky) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (panicky) Error(args ...any) { panic(fmt.Sprint(args...)) }

// Killing the process with SIGKILL at any moment loses no call that was answered, charges
// none twice, and never more than was granted; in the end each unit was used (M1, M2, M7).
func TestKill(t *testing.T) {
	folder := t.TempDir()
	granted := int64(250_000) // some thirty kills
	if raced {
		granted = 10_000
	}
	n := start(t, folder)
	n.grant(true)
	n.pack("pkg_a", granted, noon, time.Time{})
	n.close()
	replied := map[string]int{}
	kills, noted := 0, int64(0)
	for ; ; kills++ {
		if kills > 500 {
			t.Fatal("it makes no progress")
		}
		// Every third kill counts from the start, and so hits the recovery itself.
		done, said := killOne(t, folder, time.Duration(3+kills*7%30)*time.Millisecond, kills%3 == 2)
		for _, s := range said {
			if s == free {
				noted++
			} else {
				replied[s]++
			}
		}
		if done {
			break
		}
	}
	n = start(t, folder)
	defer n.close()
	for s, times := range replied {
		if times > 1 {
			t.Fatalf("%s was answered %d times", s, times)
		}
	}
	inLedger := n.marked()
	charged := int64(len(inLedger))
	for s := range replied {
		if !inLedger[s] {
			t.Fatalf("%s was answered and is not in the ledger", s)
		}
	}
	// A kill between the record and the answer charges at most one call of each goroutine.
	if charged != granted || int64(len(replied)) > charged || charged-int64(len(replied)) > int64(4*kills) {
		t.Errorf("granted %d, charged %d, answered %d, %d kills", granted, charged, len(replied), kills)
	}
	n.sound(charged)
	// Calls that cost nothing have no serial, and yet are counted once.
	var told int64
	if err := n.db.Read().QueryRow(context.Background(), `SELECT COALESCE(SUM(calls), 0) FROM gw_delta WHERE outcome = 'free'`).Scan(&told); err != nil {
		t.Fatal(err)
	}
	if told < noted || told > noted+int64(4*kills) {
		t.Errorf("%d free calls were counted, %d noted, %d kills", told, noted, kills)
	}
	t.Logf("%d kills, %d charged, %d answered, %d free of %d noted", kills, charged, len(replied), told, noted)
}

// marked are the serials that are charged in the ledger, each as an answer says it.
func (n *node) marked() map[string]bool {
	n.t.Helper()
	rows, err := n.db.Read().Query(context.Background(), `SELECT package, lo, hi, used, charged FROM gw_lease`)
	if err != nil {
		n.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var pack string
		var lo, hi, used int64
		var bits []byte
		if err := rows.Scan(&pack, &lo, &hi, &used, &bits); err != nil {
			n.t.Fatal(err)
		}
		for serial := lo; serial < hi; serial++ {
			at := serial - lo
			if used == hi-lo || at/8 < int64(len(bits)) && bits[at/8]>>(at%8)&1 == 1 {
				all[fmt.Sprint(pack, " ", serial)] = true
			}
		}
	}
	if err := rows.Err(); err != nil {
		n.t.Fatal(err)
	}
	return all
}

// killOne runs a node for a while after its first answer, or after its start, and kills it;
// done is true if the package was used up before.
func killOne(t *testing.T, folder string, after time.Duration, fromStart bool) (done bool, said []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "SOUK_QUOTA_NODE="+folder)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	arm := func() {
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
		}
	}
	if fromStart {
		arm()
	}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		arm()
		if f := strings.Fields(lines.Text()); len(f) == 2 || lines.Text() == free {
			said = append(said, lines.Text())
		}
	}
	err = cmd.Wait()
	if timer != nil {
		timer.Stop()
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != -1) {
		t.Fatal(err)
	}
	return err == nil, said
}
