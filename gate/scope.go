package gate

import (
	"net/http"
	"slices"
)

// scope is what a credential is good for that proves nothing about a person. The
// reader says at which rules it counts at all, whatever they ask for.
type scope interface {
	// covers reports whether a request is within the scope, in a form in which an
	// app may read it. It looks at nothing but the request.
	covers(r *http.Request) bool
	// isWhole reports whether covers says the same of every request.
	isWhole() bool
}

// isWithin reports whether a request is within a scope, however an app reads it,
// and all other targets that it names are, too: the scope is asked as if it were
// a rule. From then on the body of a form must name no method out of the scope.
func (g *Gate) isWithin(r *request, s scope) bool {
	if s.isWhole() {
		return s.covers(r.Request)
	}
	scoped := &Gate{Settings: g.Settings}
	scoped.Rules = []Rule{
		{Match: func(r *http.Request) (bool, error) { return s.covers(r), nil }, Open: true},
		{}, // what is out of it
	}
	asked := request{Request: r.Request, host: r.host, origin: r.origin, readings: r.readings}
	if err := scoped.findRules(&asked); err != nil || !asked.rule.Open {
		return false
	}
	for _, method := range asked.barred {
		if !slices.Contains(r.barred, method) {
			r.barred = append(r.barred, method)
		}
	}
	return true
}
