// Package journal writes down what happened to calls. A call is copied into the spool, a
// mapped file, before its answer leaves, so that killing the process loses none; a writer
// behind brings the spool into the ledger some milliseconds later, each call once.
//
// The spool is not synced by itself: losing power may lose what was not yet in the ledger,
// less than a tenth of a second, in the buyer's favour (design/metering.md M3).
package journal

import (
	"context"
	"errors"
	"fmt"
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
	// behind is how long the writer waits for more: a transaction costs what 300 calls cost,
	// so the more calls share one the better. With the commit it stays below the tenth of a
	// second that M3 allows.
	behind     = 75 * time.Millisecond
	retry      = 500 * time.Millisecond
	filesMost  = 32              // of the spool, a quarter of a gigabyte in all; above it calls are refused rather than counted in the dark
	prepareAt  = segmentSize / 4 // bytes of a file after which the next one is prepared
	sparesMost = 4               // files that are kept to be used again
	notesMost  = 8               // files, above which calls that cost nothing are dropped and counted
	batchMost  = 10_000          // entries of a transaction: it holds the pen for some 10 ms
	trimEvery  = time.Minute
)

// Errors of Settle.
var (
	// ErrFull: the ledger has not taken entries for so long that no more fit.
	ErrFull = errors.New("journal: the ledger is not taking entries, and no more can be kept")
	// ErrClosed: a call outlived its gateway.
	ErrClosed = errors.New("journal: it is closed")
	// ErrNotReady: calls came faster than files could be prepared.
	ErrNotReady = errors.New("journal: the next file of the spool is not ready yet")
)

// Book is where entries end up: the ledger.
type Book interface {
	// BookSpool books entries and remembers how far the spool was booked.
	BookSpool(context.Context, []ledger.Entry, ledger.Place) error
	Spooled(context.Context) (ledger.Place, error)
	Trim(context.Context) error
}

// Journal is a spool and its writer. Its methods may be called from many goroutines; Settle
// and Note never wait for a disk or a database.
type Journal struct {
	book   Book
	folder string
	log    *zap.Logger
	files  int // filesMost, but for tests

	mu      sync.Mutex // guards what follows; it is held for the time of a copy
	present *segment   // that is written to
	next    *segment   // that takes its place when it is full; nil: it is being prepared
	full    []*segment // to be booked, oldest first
	number  int        // of the last file
	waiting bool       // there is something that the writer has not heard of
	dropped int64      // notes
	broken  error      // why there is no next file
	spares  []*segment // that were booked, to be used again
	closed  bool       // the files are not mapped any more

	writing sync.Mutex // one transaction at a time; guards what follows
	old     []ledger.Entry
	oldLogs []string
	batch   []ledger.Entry
	decoder ledger.Decoder
	placed  bool // the place in the spool was asked for

	wake    chan struct{}
	prepare chan struct{}
	stop    chan struct{}
	done    sync.WaitGroup
}

// Open makes a journal ready to write, and books what an earlier process left in the spool.
// If the ledger's database is not there, that is done once it is. The folder must be this
// process's alone.
func Open(ctx context.Context, book Book, folder string, log *zap.Logger) (*Journal, error) {
	return open(ctx, book, folder, log, filesMost)
}

func open(ctx context.Context, book Book, folder string, log *zap.Logger, files int) (_ *Journal, err error) {
	j := &Journal{book: book, folder: folder, log: log, files: files, wake: make(chan struct{}, 1), prepare: make(chan struct{}, 1), stop: make(chan struct{})}
	defer func() {
		if err != nil {
			j.drop()
		}
	}()
	if err := j.find(); err != nil {
		return nil, err
	}
	if j.present, err = j.make(); err != nil {
		return nil, fmt.Errorf("journal: the spool cannot be made, so no call could be counted: %w", err)
	}
	switch err := j.Flush(ctx); {
	case errors.Is(err, ledger.ErrGone):
		j.waiting = true
		j.nudge()
	case err != nil:
		return nil, fmt.Errorf("book the spool: %w", err)
	}
	j.done.Go(j.write)
	j.done.Go(j.supply)
	return j, nil
}

// drop lets go of all files and leaves them where they are. Nothing may be put after it.
func (j *Journal) drop() {
	for _, s := range slices.Concat(j.full, j.spares, []*segment{j.present, j.next}) {
		if s != nil {
			_ = s.close() // the error that led here says more
		}
	}
}

func (j *Journal) name(n int) string {
	return filepath.Join(j.folder, fmt.Sprintf("spool-%08d.seg", n))
}

// find opens the files that there are, and removes those that were never begun.
func (j *Journal) find() error {
	if err := j.findLogs(); err != nil {
		return err
	}
	begun, err := filepath.Glob(filepath.Join(j.folder, "spool-*.new"))
	if err != nil {
		return err
	}
	for _, f := range begun {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	list, err := filepath.Glob(filepath.Join(j.folder, "spool-*.seg"))
	if err != nil {
		return err
	}
	var numbers []int
	for _, f := range list {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "spool-"), ".seg"))
		if err == nil {
			numbers = append(numbers, n)
		}
	}
	sort.Ints(numbers)
	for _, n := range numbers {
		s, err := openSegment(j.name(n))
		if err != nil {
			return fmt.Errorf("journal: the spool's file %s: %w", j.name(n), err)
		}
		s.end = s.scan(segmentHead)
		j.full, j.number = append(j.full, s), n
	}
	return nil
}

// make makes the next file, of one that was used before if there is one.
func (j *Journal) make() (*segment, error) {
	j.mu.Lock()
	j.number++
	name := j.name(j.number)
	var used *segment
	if n := len(j.spares); n > 0 {
		used, j.spares = j.spares[n-1], j.spares[:n-1]
	}
	j.mu.Unlock()
	return newSegment(name, used)
}

// recordRoom is on the stack of Settle: an entry has some 200 bytes.
const recordRoom = 768

// Settle writes a charged call down. When it returns nil the call survives the process.
// After an error it was not written, and must not be answered.
func (j *Journal) Settle(lease int64, r *control.CallRecord) error {
	var room [recordRoom]byte
	b := ledger.AppendEntry(room[:wordSize], lease, r)
	sum := checksum(b[wordSize:])
	j.mu.Lock()
	err := j.put(b, sum)
	first := err == nil && !j.waiting
	j.waiting = j.waiting || first
	j.mu.Unlock()
	if first {
		j.nudge()
	}
	return err
}

// Note writes down a call that cost nothing. What does not fit is dropped and counted.
func (j *Journal) Note(r *control.CallRecord) {
	var room [recordRoom]byte
	b := ledger.AppendEntry(room[:wordSize], 0, r)
	sum := checksum(b[wordSize:])
	j.mu.Lock()
	var first bool
	if len(j.full) >= min(notesMost, j.files) || j.put(b, sum) != nil {
		j.dropped++
	} else {
		first = !j.waiting
		j.waiting = true
	}
	j.mu.Unlock()
	if first {
		j.nudge()
	}
}

// put copies a record into the spool. It is called with the lock held.
func (j *Journal) put(b []byte, sum uint32) error {
	if j.closed {
		return ErrClosed
	}
	ok, err := j.present.put(b, sum)
	if !ok && err == nil {
		if j.next == nil {
			return j.why()
		}
		j.full = append(j.full, j.present)
		j.present, j.next = j.next, nil
		_, err = j.present.put(b, sum)
	}
	if j.next == nil && j.present.end > prepareAt {
		select {
		case j.prepare <- struct{}{}:
		default: // it is at it
		}
	}
	return err
}

// why says why there is no file to write to.
func (j *Journal) why() error {
	switch {
	case len(j.full) >= j.files:
		return ErrFull
	case j.broken != nil:
		return j.broken
	}
	return ErrNotReady
}

// Err says why charged calls cannot be written down, or soon cannot; nil: they can.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.full) >= j.files {
		return ErrFull
	}
	return j.broken
}

// supply prepares the next file when the present one fills.
func (j *Journal) supply() {
	for {
		select {
		case <-j.stop:
			return
		case <-j.prepare:
		}
		for !j.supplied() {
			timer := time.NewTimer(retry)
			select {
			case <-j.stop:
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}
}

func (j *Journal) supplied() bool {
	j.mu.Lock()
	room := len(j.full) < j.files
	ready := j.next != nil
	j.mu.Unlock()
	if ready {
		return true
	}
	if !room {
		return false // until something was booked
	}
	s, err := j.make()
	j.mu.Lock()
	first := j.broken == nil
	if j.broken = nil; err != nil {
		j.broken = fmt.Errorf("journal: the next file of the spool cannot be made: %w", err)
	} else {
		j.next = s
	}
	j.mu.Unlock()
	if err != nil && first {
		j.log.Error("prepare the next file of the spool; when this one is full calls are refused", zap.Error(err))
	}
	return err == nil
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
	failed := false
	for {
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
		wait := behind
		if failed {
			wait = retry
		}
		timer := time.NewTimer(wait)
		select {
		case <-j.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		err := j.Flush(context.Background())
		if err != nil {
			if !failed {
				j.log.Error("bring calls into the ledger; they are kept and tried again", zap.Error(err))
			}
			j.nudge()
		}
		failed = err != nil
	}
}

// Flush returns once everything that was settled or noted before it is in the ledger.
func (j *Journal) Flush(ctx context.Context) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.bookOld(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil // all of it was booked, or is for the next start
	}
	full, present, dropped := slices.Clone(j.full), j.present, j.dropped
	j.waiting, j.dropped = false, 0
	end := present.end
	j.mu.Unlock()
	if dropped > 0 {
		j.log.Warn("notes of calls were dropped", zap.Int64("calls", dropped))
	}
	for _, s := range full {
		if err := j.bookTo(ctx, s, s.end); err != nil {
			return err
		}
		j.retire(s)
	}
	return j.bookTo(ctx, present, end)
}

// bookOld finds where an earlier process was, and books what it left in the files of older
// versions.
func (j *Journal) bookOld(ctx context.Context) error {
	if !j.placed {
		place, err := j.book.Spooled(ctx)
		if err != nil {
			return err
		}
		j.mu.Lock()
		for i, s := range j.full {
			if s.id != place.File {
				continue
			}
			for _, before := range j.full[:i] {
				before.booked = before.end
			}
			s.booked = min(max(place.Offset, segmentHead), s.end)
		}
		j.mu.Unlock()
		j.placed = true
	}
	for part := range slices.Chunk(j.old, batchMost) {
		// By an empty place: if it is booked again, the serials are known.
		if err := j.book.BookSpool(ctx, part, ledger.Place{File: "log"}); err != nil {
			return err
		}
	}
	j.old = nil
	for _, f := range j.oldLogs {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	j.oldLogs = nil
	return nil
}

// bookTo books the records of a file up to an offset, in transactions of a bearable size.
func (j *Journal) bookTo(ctx context.Context, s *segment, end int64) error {
	for s.booked < end {
		at, n := s.booked, 0
		for ; at < end && n < batchMost; n++ {
			if n == len(j.batch) {
				j.batch = append(j.batch, ledger.Entry{})
			}
			b := s.record(at)
			if err := j.decoder.Decode(&j.batch[n], b); err != nil {
				return fmt.Errorf("journal: the record at %d of %s: %w", at, s.name, err)
			}
			at += wordSize + aligned(len(b))
		}
		if err := j.book.BookSpool(ctx, j.batch[:n], ledger.Place{File: s.id, Offset: at}); err != nil {
			return err
		}
		s.booked = at
	}
	return nil
}

// retire takes a file that is booked out of the spool. Some are kept to be used again: to
// make a file, and to sync it, takes longer than to fill it at a high rate of calls.
func (j *Journal) retire(s *segment) {
	j.mu.Lock()
	j.full = slices.DeleteFunc(j.full, func(f *segment) bool { return f == s })
	keep := len(j.spares) < sparesMost && s.setAside() == nil
	if keep {
		j.spares = append(j.spares, s)
	}
	j.mu.Unlock()
	if keep {
		return
	}
	if err := errors.Join(s.close(), os.Remove(s.name)); err != nil {
		j.log.Error("remove a file of the spool that is booked", zap.Error(err))
	}
}

// Close brings everything into the ledger and stops the writer. If the ledger takes it, no
// file is left.
func (j *Journal) Close(ctx context.Context) error {
	close(j.stop)
	j.done.Wait()
	err := j.Flush(ctx)
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if err != nil {
		j.drop()
		return err
	}
	var errs []error
	for _, s := range slices.Concat(j.full, j.spares, []*segment{j.present, j.next}) {
		if s != nil {
			errs = append(errs, s.close(), os.Remove(s.name))
		}
	}
	return errors.Join(errs...)
}
