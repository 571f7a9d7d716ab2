// Package journal writes down what happened to calls. A charged call is appended to a
// spool file before its answer leaves, so that killing the process loses none; a writer
// behind brings spool and notes into the ledger a few milliseconds later, each charged
// call once.
//
// The spool is not synced by itself: losing power may lose what was not yet in the ledger,
// a few dozen milliseconds, in the buyer's favour (design/metering.md M3). The mapped
// segment will take the spool's place behind the same three verbs: Settle, Note, Flush.
package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
)

const (
	behind     = 10 * time.Millisecond // how long the writer waits for more
	retry      = 500 * time.Millisecond
	rotateAt   = 4 << 20 // bytes of a spool file after which another is begun
	pendingMax = 500_000 // entries; above it calls are refused rather than counted in the dark
	notesMax   = 50_000  // of them, calls that cost nothing; further ones are dropped and counted
	batchMost  = 5_000   // entries of a transaction: it holds the pen for some 60 ms
	trimEvery  = time.Minute
)

// ErrFull: the ledger has not taken entries for so long that no more fit.
var ErrFull = errors.New("journal: the ledger is not taking entries, and no more can be kept")

// Book is where entries end up: the ledger.
type Book interface {
	Book(context.Context, []ledger.Entry, []ledger.Credit) error
	Trim(context.Context) error
}

// Journal is a spool and its writer. Its methods may be called from many goroutines.
type Journal struct {
	book   Book
	folder string
	log    *zap.Logger

	mu      sync.Mutex // guards what follows
	file    *os.File
	number  int   // of the file
	oldest  int   // of the files there are
	size    int64 // bytes of whole records in it
	pending []ledger.Entry
	notes   int // entries of pending that are not charged
	dropped int64
	buf     []byte
	broken  error // the spool cannot be written

	writing sync.Mutex // one transaction at a time
	wake    chan struct{}
	stop    chan struct{}
	done    sync.WaitGroup
}

// Open books what an earlier process left in the spool, and begins a new file. The folder
// must be this process's alone.
func Open(ctx context.Context, book Book, folder string, log *zap.Logger) (*Journal, error) {
	j := &Journal{book: book, folder: folder, log: log, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := j.replay(ctx); err != nil {
		return nil, err
	}
	if err := j.begin(); err != nil {
		return nil, err
	}
	j.done.Go(j.write)
	return j, nil
}

func (j *Journal) name(n int) string {
	return filepath.Join(j.folder, fmt.Sprintf("spool-%08d.log", n))
}

// files lists the spool's files, oldest first.
func (j *Journal) files() ([]int, error) {
	list, err := filepath.Glob(filepath.Join(j.folder, "spool-*.log"))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, f := range list {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "spool-"), ".log"))
		if err == nil {
			numbers = append(numbers, n)
		}
	}
	sort.Ints(numbers)
	return numbers, nil
}

// replay books every whole record of every file; a torn end is what a call left that was
// never answered.
func (j *Journal) replay(ctx context.Context) error {
	numbers, err := j.files()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		b, err := os.ReadFile(j.name(n))
		if err != nil {
			return err
		}
		entries, whole := decodeAll(b)
		if whole < len(b) {
			j.log.Warn("the spool ends in the middle of a record", zap.String("file", j.name(n)), zap.Int("bytes left out", len(b)-whole))
		}
		if _, err := j.bookAll(ctx, entries); err != nil {
			return fmt.Errorf("book the spool %s: %w", j.name(n), err)
		}
		if len(entries) > 0 {
			j.log.Info("booked calls of the spool", zap.Int("calls", len(entries)))
		}
		if err := os.Remove(j.name(n)); err != nil {
			return err
		}
		j.number = n
	}
	return nil
}

// bookAll books entries in transactions of a bearable size, and says how many it did.
func (j *Journal) bookAll(ctx context.Context, entries []ledger.Entry) (done int, err error) {
	for part := range slices.Chunk(entries, batchMost) {
		if err := j.book.Book(ctx, part, nil); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// begin opens the next file. It is called with the lock held, or before there is anybody
// to hold it against.
func (j *Journal) begin() error {
	f, err := os.OpenFile(j.name(j.number+1), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("begin a spool file: %w", err)
	}
	if j.file == nil {
		j.oldest = j.number + 1
	} else {
		_ = j.file.Close() // its records are in the page cache, and in pending
	}
	j.file, j.number, j.size = f, j.number+1, 0
	return nil
}

// Settle writes a charged call down. When it returns nil the call survives the process.
// After an error it was not written, and must not be answered.
func (j *Journal) Settle(lease int64, r *control.CallRecord) error {
	e := ledger.Entry{CallRecord: *r, Lease: lease}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) >= pendingMax {
		return ErrFull
	}
	if j.broken != nil {
		// A spool that could not be cut back holds half a record; a fresh file does not.
		if j.broken = j.begin(); j.broken != nil {
			return j.broken
		}
	}
	j.buf = encode(j.buf[:0], &e)
	if _, err := j.file.Write(j.buf); err != nil {
		if cut := j.file.Truncate(j.size); cut != nil {
			j.broken = errors.Join(err, cut)
		}
		return fmt.Errorf("write to the spool: %w", err)
	}
	j.size += int64(len(j.buf))
	j.pending = append(j.pending, e)
	j.nudge()
	return nil
}

// Err says why charged calls cannot be written down; nil: they can.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) >= pendingMax {
		return ErrFull
	}
	return j.broken
}

// Note writes down a call that cost nothing. It never waits; what does not fit is dropped.
func (j *Journal) Note(r *control.CallRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.notes >= notesMax {
		j.dropped++
		return
	}
	j.notes++
	j.pending = append(j.pending, ledger.Entry{CallRecord: *r})
	j.nudge()
}

func (j *Journal) nudge() {
	select {
	case j.wake <- struct{}{}:
	default: // it is awake
	}
}

func (j *Journal) write() {
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	for {
		wait := behind
		select {
		case <-j.stop:
			return
		case <-trim.C:
			if err := j.book.Trim(context.Background()); err != nil {
				j.log.Error("drop old records of calls", zap.Error(err))
			}
			continue
		case <-j.wake:
		}
		timer := time.NewTimer(wait)
		select {
		case <-j.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := j.Flush(context.Background()); err != nil {
			j.log.Error("bring calls into the ledger; they are kept and tried again", zap.Error(err))
			timer.Reset(retry)
			select {
			case <-j.stop:
				timer.Stop()
				return
			case <-timer.C:
			}
			j.nudge()
		}
	}
}

// Flush returns once everything that was settled or noted before it is in the ledger.
func (j *Journal) Flush(ctx context.Context) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	batch, notes, dropped := j.pending, j.notes, j.dropped
	j.pending, j.notes, j.dropped = nil, 0, 0
	// What is in batch stands in files up to this number.
	through := j.number
	if j.size > rotateAt {
		if err := j.begin(); err != nil {
			j.log.Error("begin another spool file", zap.Error(err))
		}
	}
	rotated := j.number > through
	j.mu.Unlock()
	if dropped > 0 {
		j.log.Warn("notes of calls were dropped", zap.Int64("calls", dropped))
	}
	if done, err := j.bookAll(ctx, batch); err != nil {
		for _, e := range batch[:done] {
			if e.Outcome != control.Charged {
				notes--
			}
		}
		j.mu.Lock()
		j.pending = append(batch[done:], j.pending...)
		j.notes += notes
		j.dropped += dropped
		j.mu.Unlock()
		return err
	}
	return j.clear(through, rotated)
}

// clear drops what is in the ledger from the spool.
func (j *Journal) clear(through int, rotated bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !rotated {
		through-- // the present file may hold newer records
		if len(j.pending) == 0 && j.size > 0 {
			if err := j.file.Truncate(0); err != nil {
				return fmt.Errorf("empty the spool: %w", err)
			}
			j.size = 0
		}
	}
	for ; j.oldest <= through; j.oldest++ {
		if err := os.Remove(j.name(j.oldest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close brings everything into the ledger and stops the writer.
func (j *Journal) Close(ctx context.Context) error {
	close(j.stop)
	j.done.Wait()
	err := j.Flush(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(err, j.file.Close())
}
