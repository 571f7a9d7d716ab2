package console

import (
	"fmt"
	"reflect"
	"sort"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// Host is what a plug-in is given: the database, the clock, the bus, the door to the
// gateway, and other plug-ins' answers. Its fields do not change once plug-ins see it.
type Host struct {
	DB      *storage.DB
	Bus     *event.Bus
	Gateway control.Plane
	Log     *zap.Logger
	Now     func() time.Time
	Zone    *time.Location // the market's; calendar periods are reckoned in it
	Config  Config

	asking string // the plug-in that is being provisioned, for the report of a missing need
	offers map[reflect.Type][]offer
}

type offer struct {
	by    string
	value any
}

// Offer answers the question Q, an interface of package market.
func Offer[Q any](h *Host, answer Q) {
	t := reflect.TypeFor[Q]()
	h.offers[t] = append(h.offers[t], offer{by: h.asking, value: answer})
}

// Need is the one answer to the question Q. If there is none or more than one, the error
// names the question, who asks, and who offers.
func Need[Q any](h *Host) (Q, error) {
	have := h.offers[reflect.TypeFor[Q]()]
	if len(have) != 1 {
		var zero Q
		by := make([]string, len(have))
		for i, o := range have {
			by[i] = o.by
		}
		return zero, fmt.Errorf("%s needs one %s; offered by %v", h.asking, reflect.TypeFor[Q](), by)
	}
	return have[0].value.(Q), nil
}

// All are all answers to the question Q, ordered by the plug-ins' IDs.
func All[Q any](h *Host) []Q {
	have := append([]offer(nil), h.offers[reflect.TypeFor[Q]()]...)
	sort.SliceStable(have, func(i, j int) bool { return have[i].by < have[j].by })
	out := make([]Q, len(have))
	for i, o := range have {
		out[i] = o.value.(Q)
	}
	return out
}
