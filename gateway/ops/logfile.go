package ops

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogFile is a file that is begun anew when it is large or old. The old ones are kept
// beside it, with the time in their names, and dropped when they are too many or too old.
//
// Why our own: it is a page of code, and the library that is usual for this leaves a
// goroutine behind.
type LogFile struct {
	Path string
	Size int64         // bytes; 0: DefaultLogSize
	Age  time.Duration // of one file; 0: DefaultLogAge
	Kept int           // old files; 0: DefaultLogKept
	Keep time.Duration // how long they are; 0: for ever
	Now  func() time.Time

	mu    sync.Mutex // guards the rest
	file  *os.File
	size  int64
	begun time.Time
}

// Defaults of LogFile.
const (
	DefaultLogSize = 100 << 20
	DefaultLogAge  = 24 * time.Hour
	DefaultLogKept = 14
)

// stamp is the time in the name of an old file. Names in order are times in order.
const stamp = "20060102T150405.000000000"

// Write appends whole lines. A file that cannot be begun anew is written on.
func (f *LogFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.size > 0 && (f.size+int64(len(b)) > or(f.Size, DefaultLogSize) || f.now().Sub(f.begun) >= or(f.Age, DefaultLogAge)) {
		if err := f.turn(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(b)
	f.size += int64(n)
	return n, err
}

func or[T int | int64 | time.Duration](value, usual T) T {
	if value == 0 {
		return usual
	}
	return value
}

func (f *LogFile) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

func (f *LogFile) open() error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size, f.begun = file, info.Size(), f.now()
	if f.size > 0 {
		f.begun = info.ModTime() // when it was begun is not known; this is not before it
	}
	return nil
}

func (f *LogFile) turn() error {
	old := f.Path + "." + f.now().UTC().Format(stamp)
	if err := os.Rename(f.Path, old); err != nil {
		return fmt.Errorf("begin a new log: %w", err)
	}
	before := f.file
	if err := f.open(); err != nil {
		f.file = before // what is written goes to the old file, rather than nowhere
		return nil
	}
	f.drop()
	return before.Close()
}

// drop removes old files that are too many or too old.
func (f *LogFile) drop() {
	list, err := filepath.Glob(globbed(f.Path) + ".*")
	if err != nil {
		return
	}
	list = slices.DeleteFunc(list, func(name string) bool { _, ok := f.stampOf(name); return !ok })
	slices.Sort(list)
	for i, name := range list {
		at, _ := f.stampOf(name)
		if i < len(list)-or(f.Kept, DefaultLogKept) || f.Keep > 0 && f.now().Sub(at) > f.Keep {
			_ = os.Remove(name) // the next turn tries again
		}
	}
}

func (f *LogFile) stampOf(name string) (time.Time, bool) {
	at, err := time.Parse(stamp, strings.TrimPrefix(name, f.Path+"."))
	return at, err == nil
}

// globbed is a path in which no character has a meaning for Glob.
func globbed(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Sync writes through to the disk.
func (f *LogFile) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	return f.file.Sync()
}

// Close ends the file. A later Write opens it again.
func (f *LogFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// AccessLog is a logger of calls on a file: a JSON object a line, written in blocks, at the
// latest after a second. Close ends it.
func AccessLog(f *LogFile) (log *zap.Logger, close func() error) {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.MessageKey, c.LevelKey = zapcore.OmitKey, zapcore.OmitKey
	blocks := &zapcore.BufferedWriteSyncer{WS: f, FlushInterval: time.Second}
	log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), blocks, zap.InfoLevel))
	return log, func() error { return errors.Join(blocks.Stop(), f.Close()) }
}
