package session

import (
	"context"
	"sync"

	"go.uber.org/zap"
)

const (
	// maxKnownTokens bounds how many selectors of access tokens are remembered.
	maxKnownTokens = 100_000
	// maxGuesses is how many access tokens that probably nobody holds are looked up
	// at once.
	maxGuesses = 4
)

// knownTokens remembers which access tokens exist, by selector. It only decides
// in which order the store is read: lookups of made-up tokens have slots of their
// own, and so don't delay those of tokens that exist.
type knownTokens struct {
	mu        sync.Mutex
	selectors map[string]struct{}
	complete  bool
	missed    int
}

// has reports whether a token probably exists.
func (t *knownTokens) has(selector string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.selectors[selector]
	return known || !t.complete
}

func (t *knownTokens) add(selector string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.selectors == nil {
		t.selectors = make(map[string]struct{})
	}
	if len(t.selectors) < maxKnownTokens {
		t.selectors[selector] = struct{}{}
	}
}

// miss notes that some tokens may have been made without this process hearing of
// it.
func (t *knownTokens) miss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complete = false
	t.missed++
}

// state returns whether all tokens are known, and how often some were missed.
func (t *knownTokens) state() (complete bool, missed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.complete, t.missed
}

// completed notes that the store was listed, unless some tokens were missed since.
func (t *knownTokens) completed(missed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complete = t.missed == missed
}

// learnTokens lists the store's access tokens, unless all are known.
func (k *Keeper) learnTokens(ctx context.Context) {
	complete, missed := k.knownTokens.state()
	if complete {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	all, err := k.store.ListAccessTokens(ctx)
	if err != nil {
		k.warn("listing access tokens", zap.Error(err))
		return
	}
	for _, t := range all {
		k.knownTokens.add(t.Selector)
	}
	k.knownTokens.completed(missed)
}
