package house

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// Step is how far the schema of one owner is.
type Step struct {
	File  string // GatewayFile or ConsoleFile
	Owner string
	Step  int
	Name  string
	At    time.Time
}

// Migrate brings both databases of a folder up to what this program knows, without
// serving anything, and says where each owner's schema is.
func Migrate(ctx context.Context, o Options) ([]Step, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Gateway, o.Console, o.Ops = "", "", ""
	h := &House{log: o.Log}
	err := os.MkdirAll(o.Folder, 0o700)
	if err == nil && o.MasterKey == nil {
		o.MasterKey, err = key(o.Folder)
	}
	if err == nil {
		err = h.openLedger(ctx, o)
	}
	if err == nil {
		err = h.openConsole(ctx, o)
	}
	if err = errors.Join(err, h.Close(ctx)); err != nil {
		return nil, err
	}
	return Steps(ctx, o.Folder)
}

// Steps says where the schemas of a folder's databases are, and changes nothing. A
// database that is not there has none.
func Steps(ctx context.Context, folder string) ([]Step, error) {
	var all []Step
	for _, file := range []string{GatewayFile, ConsoleFile} {
		path := filepath.Join(folder, file)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		steps, err := stepsOf(ctx, path, file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, steps...)
	}
	return all, nil
}

func stepsOf(ctx context.Context, path, file string) (steps []Step, err error) {
	db, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var begun int
	err = db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_step'`).Scan(&begun)
	if err != nil || begun == 0 { // a first start that was ended before it wrote anything
		return nil, err
	}
	rows, err := db.Read().Query(ctx, `SELECT owner, number, name, at FROM schema_step AS s
		WHERE number = (SELECT MAX(number) FROM schema_step WHERE owner = s.owner) ORDER BY owner`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		s := Step{File: file}
		var at int64
		if err := rows.Scan(&s.Owner, &s.Step, &s.Name, &at); err != nil {
			return nil, err
		}
		s.At = time.UnixMilli(at)
		steps = append(steps, s)
	}
	return steps, rows.Err()
}
