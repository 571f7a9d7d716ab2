package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/souk-market/souk/gateway/ledger"
)

// Place is what a process has alone as long as it lives: a folder for its spool, and the
// name under which it leases. The kernel gives it back when the process ends, however it
// ends.
//
// A gateway has the first place of its folder. The one that takes over from it while it
// still answers calls has another, so that both spend leases of their own and neither waits
// for the other.
type Place struct {
	Node   string
	Folder string
	lock   *os.File
}

// ErrTaken: another process has the place.
var ErrTaken = errors.New("another gateway runs there; stop it, or give this one a folder of its own")

// placesMost is how many processes may have places of one folder: one that answers, one that
// takes over, and some whose last streams have not ended.
const placesMost = 8

func place(folder string, n int) Place {
	if n == 1 {
		return Place{Node: ledger.FirstNode, Folder: folder}
	}
	node := fmt.Sprintf("%s-%d", ledger.FirstNode, n)
	return Place{Node: node, Folder: filepath.Join(folder, node)}
}

// Take takes the first place of a folder.
func Take(folder string) (*Place, error) {
	p := place(folder, 1)
	return &p, p.take()
}

// TakeBeside takes whichever place of a folder is free, for a process that takes over from
// another.
func TakeBeside(folder string) (*Place, error) {
	var err error
	for n := 1; n <= placesMost; n++ {
		p := place(folder, n)
		if err = p.take(); !errors.Is(err, ErrTaken) {
			return &p, err
		}
	}
	return nil, err
}

// Left are the places of a folder beyond the first that no process has: what was counted and
// leased there by one that was killed has to be brought home. The caller has them then.
func Left(folder string) ([]*Place, error) {
	var list []*Place
	for n := 2; n <= placesMost; n++ {
		p := place(folder, n)
		if _, err := os.Stat(p.Folder); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		switch err := p.take(); {
		case err == nil:
			list = append(list, &p)
		case !errors.Is(err, ErrTaken):
			return list, err
		}
	}
	return list, nil
}

func (p *Place) take() error {
	if err := os.MkdirAll(p.Folder, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(p.Folder, "gateway.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close() // the lock's error says why
		return fmt.Errorf("quota: %s: %w: %w", p.Folder, ErrTaken, err)
	}
	p.lock = f
	return nil
}

// Release gives the place back.
func (p *Place) Release() error { return p.lock.Close() }
