package console

import (
	"context"
	"fmt"
	"io/fs"
	"sort"

	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/web"
)

// Plugin is one capability of the marketplace, a product type or a payment provider. It
// has the powers whose interfaces it implements, and states them where it is declared.
type Plugin interface{ Plugin() Info }

// Info names a plug-in and makes a fresh one.
type Info struct {
	// ID is the folder below console/, with dots: "plugin.order", "kind.api".
	ID  string
	New func() Plugin
}

// The powers of a plug-in. The host calls them in this order.
type (
	// Offerer answers other plug-ins' questions; it calls Offer.
	Offerer interface{ Offer(*Host) }
	// Migrator has tables; their steps are files NNNN_name.sql.
	Migrator interface{ Schema() fs.FS }
	// Provisioner finds what it needs with Need and All, and refuses to start without it.
	Provisioner interface{ Provision(*Host) error }
	// Templater has pages: "show.html" of plugin.order is the page "order/show".
	Templater interface{ Pages() fs.FS }
	// Translator has words: zh.json and en.json.
	Translator interface{ Words() fs.FS }
	// Router has pages and JSON, by role.
	Router interface{ Routes(*web.Routes) }
	// Listener hears events.
	Listener interface{ Listen(*event.Bus) }
	// Worker does something by the clock, until the context ends.
	Worker interface{ Work(context.Context) error }
	// Closer lets go of something when the console stops.
	Closer interface{ Close() error }
)

// registered holds every plug-in that was compiled in; init functions fill it.
var registered = map[string]Info{}

// Register announces a plug-in. It is called in init and does nothing else. Two plug-ins
// with one ID stop the program at start.
func Register(p Plugin) {
	i := p.Plugin()
	if _, twice := registered[i.ID]; twice {
		panic(fmt.Sprintf("console: plug-in %s is registered twice", i.ID))
	}
	registered[i.ID] = i
}

// Registered lists the IDs of the plug-ins that were compiled in.
func Registered() []string {
	var ids []string
	for id := range registered {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}
