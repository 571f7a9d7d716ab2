package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
	"github.com/souk-market/souk/gateway/storage/storagetest"
)

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		path := filepath.Join(t.TempDir(), "a folder", "x?y.db") // awkward on purpose
		return func(t *testing.T) *storage.DB {
			db, err := sqlite.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			return db
		}
	})
}

func TestNotADatabaseIsRefused(t *testing.T) {
	if _, err := sqlite.Open("/dev/null/x.db"); err == nil {
		t.Error("opened a database below a device")
	}
}
