package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/souk-market/souk/examples/house"
)

// errUnwell: doctor has found something, and said it.
var errUnwell = errors.New("something is wrong here")

func doctorCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{Use: "doctor", Short: "Look for what is wrong on this machine", Args: noArgs,
		Long: "Look at the data folder, the master key, the databases, the addresses, the disk\nand the clock. Each fault is said with its remedy; nothing is changed."}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd); err != nil {
			return err
		}
		e := &examination{out: cmd.OutOrStdout(), s: &s, now: time.Now()}
		e.folder()
		e.key()
		e.schemas(cmd.Context())
		e.addresses()
		e.disk()
		e.clock()
		if e.faults > 0 {
			return fmt.Errorf("%w: %d faults", errUnwell, e.faults)
		}
		return nil
	}
	return cmd
}

// examination is one visit: what is looked at, and what was found.
type examination struct {
	out    io.Writer
	s      *settings
	now    time.Time
	steps  []house.Step
	faults int
}

func (e *examination) well(what, how string, args ...any) {
	fmt.Fprintf(e.out, "ok     %s: %s\n", what, fmt.Sprintf(how, args...))
}

func (e *examination) note(what, how string, args ...any) {
	fmt.Fprintf(e.out, "note   %s: %s\n", what, fmt.Sprintf(how, args...))
}

func (e *examination) fault(what, remedy, how string, args ...any) {
	e.faults++
	fmt.Fprintf(e.out, "FAULT  %s: %s\n       %s\n", what, fmt.Sprintf(how, args...), remedy)
}

func (e *examination) folder() {
	const what = "data folder"
	info, err := os.Stat(e.s.data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.note(what, "%s is not there yet; the first start makes it", e.s.data)
		return
	case err != nil:
		e.fault(what, "Let the user that runs souk read it, or give another folder with --data.", "%v", err)
		return
	case !info.IsDir():
		e.fault(what, "Move the file away, or give another folder with --data.", "%s is not a folder", e.s.data)
		return
	}
	f, err := os.CreateTemp(e.s.data, ".doctor-*")
	if err != nil {
		e.fault(what, "Give the folder to the user that runs souk: chown -R.", "it cannot be written to: %v", err)
		return
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		e.fault(what, "Give the folder to the user that runs souk: chown -R.", "%v", err)
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		e.fault(what, "chmod 700 "+e.s.data, "others on this machine may look into it (mode %o)", info.Mode().Perm())
		return
	}
	e.well(what, "%s", e.s.data)
}

func (e *examination) key() {
	const what = "master key"
	if text, ok := os.LookupEnv("SOUK_MASTER_KEY"); ok {
		if _, err := house.ParseKey(text); err != nil {
			e.fault(what, "Give 64 hexadecimal digits in SOUK_MASTER_KEY, or none.", "%v", err)
			return
		}
		e.well(what, "from SOUK_MASTER_KEY")
		return
	}
	path := filepath.Join(e.s.data, house.KeyFile)
	_, err := house.FindKey(e.s.data)
	_, noData := os.Stat(filepath.Join(e.s.data, house.GatewayFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) && noData != nil:
		e.note(what, "none yet; the first start makes it")
		return
	case errors.Is(err, fs.ErrNotExist):
		e.fault(what, "Put "+path+" back from a backup: without it AppSecrets cannot be read.", "it is missing though there is data")
		return
	case err != nil:
		e.fault(what, "Put "+path+" back from a backup.", "%v", err)
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		e.fault(what, "chmod 600 "+path, "others may read it (mode %o)", info.Mode().Perm())
		return
	}
	e.well(what, "%s", path)
}

// schemas compares the databases with those that this program would make.
func (e *examination) schemas(ctx context.Context) {
	const what = "databases"
	have, err := house.Steps(ctx, e.s.data)
	if err != nil {
		e.fault(what, "Put the data folder back from a backup, if a disk fault is to blame.", "%v", err)
		return
	}
	if len(have) == 0 {
		e.note(what, "none yet; the first start makes them")
		return
	}
	e.steps = have
	empty, err := os.MkdirTemp("", "souk-doctor-*")
	if err != nil {
		e.fault(what, "Make room in the folder for temporary files, or set TMPDIR.", "%v", err)
		return
	}
	defer func() { _ = os.RemoveAll(empty) }() // it is the system's to clear as well
	known, err := house.Migrate(ctx, house.Options{Folder: empty})
	if err != nil {
		e.fault(what, "This is a fault of the program: report it.", "%v", err)
		return
	}
	at := map[string]int{}
	for _, t := range known {
		at[t.Owner] = t.Step
	}
	before := e.faults
	for _, t := range have {
		switch know, ours := at[t.Owner]; {
		case ours && t.Step > know:
			e.fault(what, "Start the newer souk, or put back a backup made before the upgrade.",
				"%s: %s is at step %d, this program knows %d", t.File, t.Owner, t.Step, know)
		case t.Step < know:
			e.note(what, "%s: %s is at step %d of %d; 'souk migrate' or the next start brings it up", t.File, t.Owner, t.Step, know)
		}
	}
	if e.faults == before {
		e.well(what, "%d schemas", len(have))
	}
}

func (e *examination) addresses() {
	if w, err := (&http.Client{Timeout: 2 * time.Second}).Get("http://" + e.s.ops + "/healthz"); err == nil {
		_ = w.Body.Close() // that it answers is enough
		e.well("addresses", "souk is running here: it answers on %s", e.s.ops)
		return
	}
	for _, a := range []struct{ name, address string }{{"console", e.s.console}, {"gateway", e.s.gateway}, {"ops", e.s.ops}} {
		what := "address of " + a.name
		l, err := net.Listen("tcp", a.address)
		if err != nil {
			e.fault(what, "End the program that has it, or choose another with --"+a.name+".", "%v", err)
			continue
		}
		_ = l.Close() // it was only to see
		e.well(what, "%s is free", a.address)
	}
}

const diskLeast = 512 << 20 // bytes: some days of journal

func (e *examination) disk() {
	const what = "disk"
	path := e.s.data
	if _, err := os.Stat(path); err != nil {
		path = filepath.Dir(filepath.Clean(path))
	}
	free, err := diskFree(path)
	switch {
	case err != nil:
		e.note(what, "free space is not known: %v", err)
	case free < diskLeast:
		e.fault(what, "Make room: a full disk stops sales and charged calls.", "%d MiB free in %s", free>>20, path)
	default:
		e.well(what, "%d MiB free", free>>20)
	}
}

// clockLeast is before this program was written: a clock that shows less is wrong.
var clockLeast = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (e *examination) clock() {
	const what, remedy = "clock", "Set the clock by NTP (timedatectl set-ntp true): signed calls are refused when it is minutes off."
	if e.now.Before(clockLeast) {
		e.fault(what, remedy, "it shows %s", e.now.Format(time.RFC3339))
		return
	}
	for _, t := range e.steps {
		if t.At.After(e.now.Add(time.Minute)) {
			e.fault(what, remedy, "it shows %s, but %s was written at %s", e.now.Format(time.RFC3339), t.File, t.At.Format(time.RFC3339))
			return
		}
	}
	e.well(what, "%s", e.now.Format(time.RFC3339))
}
