package portal

import (
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/templates"
)

// fewLeft is how much of a stock is so little that a new one is due.
const fewLeft = 3

// advise says what would make somebody safer from being locked out. Where
// there is nothing, it says so.
func (p *Portal) advise(t words, held []credentials.Own, enrollable []assurance.Factor) []templates.Advice {
	var advice []templates.Advice
	if next := p.recommended(held, enrollable); next != "" && len(secondWays(held)) < 2 {
		advice = append(advice, templates.Advice{
			Text: t.say("portal.advice.second_way"), Action: t.kind(next, "add"), URL: p.kindPath(next),
		})
	}
	for _, kind := range p.standbys() {
		if text := adviseOnStandby(t, kind, working(ofKind(held, kind)), enrollable); text != "" {
			advice = append(advice, templates.Advice{Text: text, Action: t.kind(kind, "add"), URL: p.kindPath(kind), Urgent: true})
		}
	}
	if len(advice) == 0 && len(secondWays(held)) > 1 {
		advice = append(advice, templates.Advice{Text: t.say("portal.advice.all_well"), Good: true})
	}
	return advice
}

// standbys lists the kinds that stand by for need.
func (p *Portal) standbys() []assurance.Factor {
	var kinds []assurance.Factor
	for _, f := range p.Factors {
		if p.Factors.IsStandby(f.Kind()) {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds
}

// adviseOnStandby says that what stands by runs short, or is missing where it
// could be there.
func adviseOnStandby(t words, kind assurance.Factor, has []credentials.Own, enrollable []assurance.Factor) string {
	switch {
	case len(has) == 0 && !slices.Contains(enrollable, kind):
		return ""
	case len(has) == 0:
		return t.kind(kind, "none")
	}
	stock := has[0].Details.Stock
	switch {
	case stock == nil || stock.Left > fewLeft:
		return ""
	case stock.Left == 0:
		return t.kind(kind, "none")
	}
	return t.kindCount(kind, "few", stock.Left)
}

// recommended returns the kind to add next: one that isn't there yet, if there
// is any.
func (p *Portal) recommended(held []credentials.Own, enrollable []assurance.Factor) assurance.Factor {
	var another assurance.Factor
	for _, kind := range enrollable {
		if p.Factors.IsStandby(kind) {
			continue
		}
		if len(working(ofKind(held, kind))) == 0 {
			return kind
		}
		if another == "" {
			another = kind
		}
	}
	return another
}
