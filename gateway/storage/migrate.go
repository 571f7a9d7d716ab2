package storage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// SchemaError says why the schema in a database cannot be used, and what to do.
type SchemaError struct {
	Owner string
	Have  int // the step the database is at
	Know  int // the last step this program knows
	Why   string
}

// Error gives the reason and the remedy in one sentence.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("storage: schema of %s is at step %d, this program knows %d: %s", e.Owner, e.Have, e.Know, e.Why)
}

// A migration's file name: 0003_reprice.sql or 0003_reprice.postgres.sql.
var stepName = regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)(?:\.([a-z]+))?\.sql$`)

type step struct {
	number int
	name   string
	sql    string
}

func (s step) sum() string {
	h := sha256.Sum256([]byte(s.sql))
	return hex.EncodeToString(h[:8])
}

// Move is what a step does to the rows that are there and SQL has no words for. It runs in
// the step's transaction, before the step's own text.
type Move struct {
	Step int
	Run  func(context.Context, *Tx) error
}

// Migrate runs an owner's steps NNNN_name.sql in order, each once and in a transaction of
// its own. It refuses a schema that is newer than the steps it is given, and one whose
// released steps were edited, with a *SchemaError.
func (db *DB) Migrate(ctx context.Context, owner string, fsys fs.FS, moves ...Move) error {
	steps, err := db.steps(fsys)
	if err != nil {
		return fmt.Errorf("schema of %s: %w", owner, err)
	}
	err = db.Tx(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_step (
			owner  TEXT NOT NULL,
			number BIGINT NOT NULL,
			name   TEXT NOT NULL,
			digest TEXT NOT NULL,
			at     BIGINT NOT NULL,
			PRIMARY KEY (owner, number))`)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := db.Tx(ctx, func(tx *Tx) error { return apply(ctx, tx, owner, s, moves) }); err != nil {
			return fmt.Errorf("schema of %s, step %04d_%s: %w", owner, s.number, s.name, err)
		}
	}
	var have int
	err = db.Read().QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM schema_step WHERE owner = ?`, owner).Scan(&have)
	if err != nil {
		return err
	}
	if know := len(steps); have > know {
		return &SchemaError{Owner: owner, Have: have, Know: know,
			Why: "the database was written by a newer souk; start that version, or restore a backup made before the upgrade"}
	}
	return nil
}

func apply(ctx context.Context, tx *Tx, owner string, s step, moves []Move) error {
	var digest string
	err := tx.QueryRow(ctx, `SELECT digest FROM schema_step WHERE owner = ? AND number = ?`, owner, s.number).Scan(&digest)
	switch {
	case err == nil && digest == s.sum():
		return nil
	case err == nil:
		return &SchemaError{Owner: owner, Have: s.number, Know: s.number,
			Why: fmt.Sprintf("step %04d_%s was run with another text; use the program that wrote this database", s.number, s.name)}
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	var have int
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM schema_step WHERE owner = ?`, owner).Scan(&have); err != nil {
		return err
	}
	if have >= s.number {
		return fmt.Errorf("step %d is missing though step %d was run", s.number, have)
	}
	for _, m := range moves {
		if m.Step == s.number {
			if err := m.Run(ctx, tx); err != nil {
				return err
			}
		}
	}
	if _, err := tx.Exec(ctx, s.sql); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO schema_step (owner, number, name, digest, at) VALUES (?, ?, ?, ?, ?)`,
		owner, s.number, s.name, s.sum(), time.Now().UnixMilli())
	return err
}

// steps reads the numbered files; where one is named for this dialect it stands in.
func (db *DB) steps(fsys fs.FS) ([]step, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, err
	}
	chosen := map[int]string{}
	for _, e := range entries {
		m := stepName.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("%s is not named NNNN_name.sql", e.Name())
		}
		n, _ := strconv.Atoi(m[1]) // four digits by the pattern
		switch own := m[3] == db.dialect.Name(); {
		case m[3] != "" && !own:
		case own || chosen[n] == "":
			chosen[n] = e.Name()
		}
	}
	var steps []step
	for n, file := range chosen {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(file[5:], ".")
		steps = append(steps, step{number: n, name: name, sql: string(text)})
	}
	sort.Slice(steps, func(i, j int) bool { return steps[i].number < steps[j].number })
	for i, s := range steps {
		if s.number != i+1 {
			return nil, fmt.Errorf("step %d is missing", i+1)
		}
	}
	return steps, nil
}
