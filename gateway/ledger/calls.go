package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// Sizes of blocks. A batch becomes a block of its own; where calls come slowly, and blocks
// are small, they are put together when there are many. So each call is written at most
// three times, at a high rate once, and the lists look into some thousands of blocks and not
// into one for each call.
const (
	blockFull  = 256  // calls of a block that is left alone
	blockSmall = 16   // below it a block is of the lowest rank
	blockHeap  = 16   // blocks of a rank that are put together
	blockMost  = 4096 // calls of a block: what a list has to read for one of them
)

func rank(calls int64) int {
	switch {
	case calls >= blockFull:
		return 2
	case calls >= blockSmall:
		return 1
	}
	return 0
}

// bookCalls keeps the records of a batch.
func bookCalls(ctx context.Context, tx *storage.Tx, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	for part := range slices.Chunk(entries, blockMost) {
		var b block
		for i := range part {
			b.add(&part[i])
		}
		if err := insertBlock(ctx, tx, 0, &b); err != nil {
			return err
		}
	}
	if rank(int64(len(entries))) < 2 {
		return mergeBlocks(ctx, tx)
	}
	return nil
}

func insertBlock(ctx context.Context, tx *storage.Tx, id int64, b *block) error {
	var place any // nil: the next one
	if id != 0 {
		place = id
	}
	_, err := tx.Exec(ctx, blockRow,
		place, b.calls, b.first, b.last, b.filter(), b.body())
	return err
}

// mergeBlocks puts small blocks together where there are many.
func mergeBlocks(ctx context.Context, tx *storage.Tx) error {
	for r, bounds := range [...][2]int64{{0, blockSmall}, {blockSmall, blockFull}} {
		ids, err := smallBlocks(ctx, tx, bounds)
		if err != nil {
			return err
		}
		if len(ids) < blockHeap {
			continue
		}
		var b block
		for _, id := range ids {
			if err := addBlock(ctx, tx, id, &b, 0); err != nil {
				return err
			}
			if rank(int64(b.calls)) > r+1 {
				break
			}
		}
		if b.calls == 0 {
			continue
		}
		if err := insertBlock(ctx, tx, ids[0], &b); err != nil {
			return err
		}
	}
	return nil
}

func smallBlocks(ctx context.Context, tx *storage.Tx, bounds [2]int64) ([]int64, error) {
	rows, err := tx.Query(ctx, blockList, bounds[0], bounds[1])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// addBlock moves the calls of a block that are not older than since into another.
func addBlock(ctx context.Context, tx *storage.Tx, id int64, to *block, since int64) error {
	var body []byte
	if err := tx.QueryRow(ctx, `SELECT body FROM gw_block WHERE id = ?`, id).Scan(&body); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM gw_block WHERE id = ?`, id); err != nil {
		return err
	}
	return readBlock(body, func(e *Entry) {
		if e.At.UnixMilli() >= since {
			to.add(e)
		}
	})
}

// callsMost bounds what one question may ask for.
const callsMost = 1000

// Calls lists the latest calls that match, newest first.
func (l *Ledger) Calls(ctx context.Context, f control.CallFilter) ([]control.CallRecord, error) {
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	db, err := l.base()
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		list, err := findCalls(ctx, db.Read(), f, storage.Millis(l.now().Add(-callsFor)))
		// A block that was put together with others while we looked is found in another place.
		if !errors.Is(err, sql.ErrNoRows) || try == 5 {
			return list, err
		}
	}
}

func findCalls(ctx context.Context, q storage.Queryer, f control.CallFilter, oldest int64) ([]control.CallRecord, error) {
	most := min(f.Max, callsMost)
	if most <= 0 {
		most = 50
	}
	blocks, err := blocksFor(ctx, q, &f, oldest)
	if err != nil {
		return nil, err
	}
	var list []control.CallRecord
	for _, b := range blocks {
		if len(list) >= most && list[most-1].At.UnixMilli() > b.last {
			break // all that follows is older
		}
		var body []byte
		if err := q.QueryRow(ctx, `SELECT body FROM gw_block WHERE id = ?`, b.id).Scan(&body); err != nil {
			return nil, err
		}
		var found []control.CallRecord
		err := readBlock(body, func(e *Entry) {
			if e.At.UnixMilli() >= oldest && f.Match(&e.CallRecord) {
				found = append(found, e.CallRecord)
			}
		})
		if err != nil {
			return nil, err
		}
		slices.Reverse(found) // what was booked later stands first, among calls of one moment
		list = append(list, found...)
		slices.SortStableFunc(list, func(a, b control.CallRecord) int { return b.At.Compare(a.At) })
		list = list[:min(len(list), most)]
	}
	return list, nil
}

type blockPlace struct{ id, last int64 }

// blocksFor are the blocks that may have what is asked for, the newest first.
func blocksFor(ctx context.Context, q storage.Queryer, f *control.CallFilter, oldest int64) ([]blockPlace, error) {
	var wanted []uint64
	for _, n := range [...]struct {
		kind byte
		name string
	}{{'a', string(f.App)}, {'g', string(f.Grant)}, {'p', string(f.Product)}, {'k', string(f.Package)}} {
		if n.name != "" {
			wanted = append(wanted, nameHash(n.kind, n.name))
		}
	}
	query, args := `SELECT id, last, names FROM gw_block WHERE last >= ? ORDER BY last DESC, id DESC`, []any{oldest}
	if at, ok := f.Request.At(); ok && !f.Request.IsZero() {
		ms := at.UnixMilli()
		query, args = `SELECT id, last, names FROM gw_block WHERE last >= ? AND first <= ? ORDER BY last DESC, id DESC`, []any{max(ms, oldest), ms}
	}
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []blockPlace
next:
	for rows.Next() {
		var b blockPlace
		var names []byte
		if err := rows.Scan(&b.id, &b.last, &names); err != nil {
			return nil, err
		}
		for _, h := range wanted {
			if !mayHave(names, h) {
				continue next
			}
		}
		list = append(list, b)
	}
	return list, rows.Err()
}

// How many records of calls are kept, and how long. The sums stay for ever.
const (
	callsKept = 1_000_000 // some 20 MB
	callsFor  = 7 * dayLong
	dayLong   = 24 * time.Hour
)

// Trim drops records of calls that are older or more than what is kept. No list shows one
// that is older; in a block beside younger ones it may lie for another day.
func (l *Ledger) Trim(ctx context.Context) error {
	return l.tx(ctx, func(tx *storage.Tx) error {
		if err := trimFeed(ctx, tx); err != nil {
			return err
		}
		oldest := storage.Millis(l.now().Add(-callsFor))
		if _, err := tx.Exec(ctx, `DELETE FROM gw_block WHERE last < ?`, oldest); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM gw_block WHERE id IN (
			SELECT id FROM (SELECT id, SUM(calls) OVER (ORDER BY last DESC, id DESC) - calls AS newer FROM gw_block) AS b WHERE newer >= ?)`, callsKept)
		if err != nil {
			return err
		}
		half, err := halfOld(ctx, tx, oldest-dayLong.Milliseconds(), oldest)
		if err != nil {
			return err
		}
		for _, id := range half {
			var b block
			if err := addBlock(ctx, tx, id, &b, oldest); err != nil {
				return err
			}
			if b.calls > 0 {
				if err := insertBlock(ctx, tx, id, &b); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func halfOld(ctx context.Context, tx *storage.Tx, begins, oldest int64) ([]int64, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM gw_block WHERE first < ? AND last >= ?`, begins, oldest)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
