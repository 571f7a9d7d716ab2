package schema

import (
	"errors"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/souk-market/souk/gateway/filter/setting"
)

// maxVisits is how often one value may be looked at.
const maxVisits = 1000

// cheap reports why checking a value against a schema could take too long: how often a
// value deep inside could be looked at, since the schemas around it lead there in several
// ways. A plain schema looks at each value once, however large it is.
func cheap(s *openapi3.SchemaRef) error {
	if s == nil || s.Value == nil {
		return nil
	}
	c := costs{known: map[place]int{}, under: map[*openapi3.Schema]bool{}}
	n, err := c.visits(s.Value, setting.MaxDepth)
	if err != nil {
		return err
	}
	if n > maxVisits {
		return fmt.Errorf("the schema refers to itself, or to others, in so many ways that one value could be looked at more than %d times", maxVisits)
	}
	return nil
}

type place struct {
	schema *openapi3.Schema
	depth  int
}

type costs struct {
	known map[place]int
	under map[*openapi3.Schema]bool // being reckoned for the same value
}

// visits is how often a value that lies at most so deep under this schema is looked at.
func (c *costs) visits(s *openapi3.Schema, depth int) (int, error) {
	if s == nil || depth == 0 {
		return 1, nil
	}
	if n, ok := c.known[place{s, depth}]; ok {
		return n, nil
	}
	if c.under[s] {
		return 0, errors.New("the schema refers to itself without going deeper into a value")
	}
	c.under[s] = true
	total := 1
	for _, refs := range []openapi3.SchemaRefs{s.OneOf, s.AnyOf, s.AllOf, {s.Not, s.If, s.Then, s.Else}, schemas(s.DependentSchemas)} {
		for _, r := range refs {
			if r == nil || r.Value == nil {
				continue
			}
			n, err := c.visits(r.Value, depth)
			if err != nil {
				return 0, err
			}
			total = min(total+n, maxVisits+1)
		}
	}
	delete(c.under, s)
	deeper, err := c.deepest(s, depth)
	if err != nil {
		return 0, err
	}
	total = min(total+deeper, maxVisits+1)
	c.known[place{s, depth}] = total
	return total, nil
}

// deepest is the same for the values inside: each is inside one property or item.
func (c *costs) deepest(s *openapi3.Schema, depth int) (int, error) {
	most := 0
	outer := c.under
	c.under = map[*openapi3.Schema]bool{}
	defer func() { c.under = outer }()
	inside := append(schemas(s.Properties), schemas(s.PatternProperties)...)
	inside = append(inside, s.Items, s.Contains, s.AdditionalProperties.Schema, s.UnevaluatedItems.Schema, s.UnevaluatedProperties.Schema)
	for _, r := range append(inside, s.PrefixItems...) {
		if r == nil || r.Value == nil {
			continue
		}
		n, err := c.visits(r.Value, depth-1)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

func schemas(m openapi3.Schemas) openapi3.SchemaRefs {
	var list openapi3.SchemaRefs
	for _, s := range m {
		list = append(list, s)
	}
	return list
}
