package gateway_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/gatewaytest"
	"github.com/souk-market/souk/gateway/storage"
)

// A gateway whose ledger takes no writes is alive and not ready, and says why; it is
// ready again by itself. C9, X7.
func TestNotReadyWithoutALedgerToWriteTo(t *testing.T) {
	h := gatewaytest.New(t, nil)
	if err := h.Ready(t.Context()); err != nil {
		t.Fatalf("at the start: %v", err)
	}
	writing, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- h.DB.Tx(context.Background(), func(*storage.Tx) error {
			close(writing)
			<-release
			return nil
		})
	}()
	<-writing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := httptest.NewRecorder()
	h.Ops().ServeHTTP(r, httptest.NewRequestWithContext(ctx, "GET", "/readyz", nil))
	if r.Code != 503 || !strings.Contains(r.Body.String(), "the ledger takes no writes") {
		t.Errorf("readyz: %d %s", r.Code, r.Body)
	}
	r = httptest.NewRecorder()
	h.Ops().ServeHTTP(r, httptest.NewRequest("GET", "/healthz", nil))
	if r.Code != 200 {
		t.Errorf("healthz: %d %s", r.Code, r.Body)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := h.Ready(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
