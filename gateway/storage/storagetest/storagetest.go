// Package storagetest is the suite that every home of storage passes.
package storagetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/souk-market/souk/gateway/storage"
)

// Open opens the same database each time it is called within one test.
type Open func(t *testing.T) *storage.DB

var one = fstest.MapFS{"0001_note.sql": {Data: []byte(`CREATE TABLE note (id TEXT PRIMARY KEY, n BIGINT NOT NULL);`)}}

var two = fstest.MapFS{
	"0001_note.sql": one["0001_note.sql"],
	"0002_more.sql": {Data: []byte(`ALTER TABLE note ADD COLUMN more TEXT NOT NULL DEFAULT ''; INSERT INTO note (id, n, more) VALUES ('b', 2, 'x');`)},
}

// Run runs the suite; open gives a fresh database for each test, the same within it.
func Run(t *testing.T, open func(t *testing.T) Open) {
	t.Run("a transaction is all or nothing", func(t *testing.T) {
		db := migrated(t, open(t))
		boom := errors.New("boom")
		err := db.Tx(t.Context(), func(tx *storage.Tx) error {
			mustExec(t, tx, `INSERT INTO note (id, n) VALUES (?, ?)`, "a", 1)
			tx.After(func() { t.Error("After ran though the transaction failed") })
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("err = %v, want boom", err)
		}
		if n := count(t, db.Read()); n != 0 {
			t.Errorf("%d rows after a rollback, want 0", n)
		}
	})

	t.Run("a panic rolls back and gives the pen back", func(t *testing.T) {
		db := migrated(t, open(t))
		func() {
			defer func() { _ = recover() }()
			_ = db.Tx(t.Context(), func(tx *storage.Tx) error {
				mustExec(t, tx, `INSERT INTO note (id, n) VALUES (?, ?)`, "a", 1)
				panic("boom")
			})
		}()
		insert(t, db, "b", 1)
		if n := count(t, db.Read()); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	})

	t.Run("After runs once it is through, and may write", func(t *testing.T) {
		db := migrated(t, open(t))
		err := db.Tx(t.Context(), func(tx *storage.Tx) error {
			mustExec(t, tx, `INSERT INTO note (id, n) VALUES (?, ?)`, "a", 1)
			tx.After(func() { insert(t, db, "b", 2) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, db.Read()); n != 2 {
			t.Errorf("%d rows, want 2", n)
		}
	})

	t.Run("readers cannot write", func(t *testing.T) {
		db := migrated(t, open(t))
		rows, err := db.Read().Query(t.Context(), `INSERT INTO note (id, n) VALUES ('x', 1) RETURNING id`)
		if err == nil {
			for rows.Next() {
			}
			err = errors.Join(rows.Err(), rows.Close())
		}
		if err == nil {
			t.Error("a reader inserted a row")
		}
	})

	t.Run("a view is one state, and cannot write", func(t *testing.T) {
		db := migrated(t, open(t))
		insert(t, db, "a", 1)
		err := db.View(t.Context(), func(q storage.Queryer) error {
			before := count(t, q)
			insert(t, db, "b", 2) // nobody waits for who reads
			if after := count(t, q); before != 1 || after != 1 {
				t.Errorf("%d rows became %d under a view", before, after)
			}
			rows, err := q.Query(t.Context(), `INSERT INTO note (id, n) VALUES ('x', 1) RETURNING id`)
			if err == nil {
				for rows.Next() {
				}
				err = errors.Join(rows.Err(), rows.Close())
			}
			if err == nil {
				t.Error("a view inserted a row")
			}
			return nil
		})
		if err != nil || count(t, db.Read()) != 2 {
			t.Errorf("afterwards %d rows, %v", count(t, db.Read()), err)
		}
		boom := errors.New("boom")
		if err := db.View(t.Context(), func(storage.Queryer) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("err = %v, want boom", err)
		}
	})

	t.Run("kept statements are those of each transaction", func(t *testing.T) {
		db := migrated(t, open(t))
		const into, of = `INSERT INTO note (id, n) VALUES (?, ?)`, `SELECT n FROM note WHERE id = ?`
		if err := db.Keep(t.Context(), `SELECT nothing FROM nowhere`); err == nil {
			t.Error("a statement that cannot be is kept")
		}
		for range 2 {
			if err := db.Keep(t.Context(), into, of); err != nil {
				t.Fatal(err)
			}
		}
		boom := errors.New("boom")
		for i, want := range []error{boom, nil} {
			err := db.Tx(t.Context(), func(tx *storage.Tx) error {
				if n, err := tx.Exec(t.Context(), into, "a", i); err != nil || n != 1 {
					t.Errorf("%d rows, %v", n, err)
				}
				var n int
				if err := tx.QueryRow(t.Context(), of, "a").Scan(&n); err != nil || n != i {
					t.Errorf("read %d, %v; want %d", n, err, i)
				}
				return want
			})
			if !errors.Is(err, want) {
				t.Errorf("err = %v, want %v", err, want)
			}
		}
		if n := count(t, db.Read()); n != 1 {
			t.Errorf("%d rows, want the one that was committed", n)
		}
	})

	t.Run("a step moves rows before its own text, once, or not at all", func(t *testing.T) {
		o := open(t)
		db := migrated(t, o)
		insert(t, db, "a", 7)
		two := fstest.MapFS{"0001_note.sql": one["0001_note.sql"], "0002_gone.sql": {Data: []byte(`DROP TABLE note`)}}
		boom, moved := errors.New("boom"), 0
		move := func(err error) storage.Move {
			return storage.Move{Step: 2, Run: func(_ context.Context, tx *storage.Tx) error {
				moved += count(t, tx)
				return err
			}}
		}
		if err := db.Migrate(t.Context(), "test", two, move(boom)); !errors.Is(err, boom) || count(t, db.Read()) != 1 {
			t.Errorf("a move that fails: %v", err)
		}
		for range 2 {
			if err := db.Migrate(t.Context(), "test", two, move(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if moved != 2 { // one that failed, one that did not
			t.Errorf("%d rows were seen", moved)
		}
	})

	t.Run("many writers wait for each other", func(t *testing.T) {
		db := migrated(t, open(t))
		insert(t, db, "a", 0)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 25 {
					err := db.Tx(t.Context(), func(tx *storage.Tx) error {
						_, err := tx.Exec(t.Context(), `UPDATE note SET n = n + 1 WHERE id = ?`, "a")
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var n int
		if err := db.Read().QueryRow(t.Context(), `SELECT n FROM note WHERE id = ?`, "a").Scan(&n); err != nil || n != 200 {
			t.Errorf("n = %d, %v; want 200", n, err)
		}
	})

	t.Run("a second of one key is told apart", func(t *testing.T) {
		db := migrated(t, open(t))
		insert(t, db, "a", 1)
		err := db.Tx(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO note (id, n) VALUES (?, ?)`, "a", 2)
			return err
		})
		if !db.Unique(err) {
			t.Errorf("Unique(%v) = false", err)
		}
		if db.Unique(errors.New("another")) {
			t.Error("Unique of another error is true")
		}
	})

	t.Run("migrations run once, in order, and survive a restart", func(t *testing.T) {
		o := open(t)
		db := o(t)
		for range 2 {
			if err := db.Migrate(t.Context(), "test", two); err != nil {
				t.Fatal(err)
			}
		}
		again := o(t)
		if err := again.Migrate(t.Context(), "test", two); err != nil {
			t.Fatal(err)
		}
		if n := count(t, again.Read()); n != 1 {
			t.Errorf("%d rows, want the one that step 2 inserts", n)
		}
	})

	t.Run("a newer schema is refused with what to do", func(t *testing.T) {
		db := open(t)(t)
		if err := db.Migrate(t.Context(), "test", two); err != nil {
			t.Fatal(err)
		}
		var e *storage.SchemaError
		if err := db.Migrate(t.Context(), "test", one); !errors.As(err, &e) || e.Have != 2 || e.Know != 1 {
			t.Errorf("err = %v, want a SchemaError at 2, knowing 1", err)
		}
	})

	t.Run("an edited step is refused", func(t *testing.T) {
		db := migrated(t, open(t))
		edited := fstest.MapFS{"0001_note.sql": {Data: []byte(`CREATE TABLE note (id TEXT);`)}}
		var e *storage.SchemaError
		if err := db.Migrate(t.Context(), "test", edited); !errors.As(err, &e) {
			t.Errorf("err = %v, want a SchemaError", err)
		}
	})

	t.Run("a broken step leaves nothing behind", func(t *testing.T) {
		db := migrated(t, open(t))
		broken := fstest.MapFS{
			"0001_note.sql": one["0001_note.sql"],
			"0002_more.sql": {Data: []byte(`CREATE TABLE half (id TEXT); CREATE TABLE half (id TEXT);`)},
		}
		if err := db.Migrate(t.Context(), "test", broken); err == nil {
			t.Fatal("a step with a fault was run")
		}
		if err := db.Migrate(t.Context(), "test", two); err != nil {
			t.Errorf("after the fault was mended: %v", err)
		}
	})
}

func migrated(t *testing.T, o Open) *storage.DB {
	t.Helper()
	db := o(t)
	if err := db.Migrate(t.Context(), "test", one); err != nil {
		t.Fatal(err)
	}
	return db
}

func insert(t *testing.T, db *storage.DB, id string, n int) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *storage.Tx) error {
		mustExec(t, tx, `INSERT INTO note (id, n) VALUES (?, ?)`, id, n)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func mustExec(t *testing.T, tx *storage.Tx, query string, args ...any) {
	t.Helper()
	if _, err := tx.Exec(context.WithoutCancel(t.Context()), query, args...); err != nil {
		t.Error(err)
	}
}

func count(t *testing.T, q storage.Queryer) int {
	t.Helper()
	var n int
	if err := q.QueryRow(t.Context(), `SELECT COUNT(*) FROM note`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
