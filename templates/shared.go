package templates

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"weak"
)

// Shared gives out one Set for all options that lead to the same pages, for as
// long as anybody uses that Set: configurations that follow one another mostly
// differ in something else, and a server keeps the former ones for minutes
// after a reload. The zero Shared is ready. It is safe for concurrent use.
type Shared struct {
	mu   sync.Mutex
	sets map[digest]weak.Pointer[Set]
}

// digest stands for all that a Set is made of but what is compiled in.
type digest [sha256.Size]byte

// Set is New, but returns the Set in use where options and files are the same.
// The operator's files are read each time.
func (s *Shared) Set(options Options) (*Set, error) {
	from, err := newSources(embeddedFiles(), options.Overrides)
	if err != nil {
		return nil, err
	}
	key, err := from.digest(options)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if used := s.sets[key].Value(); used != nil {
		return used, nil
	}
	made, err := parseSet(from, options)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(s.sets, func(_ digest, set weak.Pointer[Set]) bool { return set.Value() == nil })
	if s.sets == nil {
		s.sets = make(map[digest]weak.Pointer[Set])
	}
	s.sets[key] = weak.Make(made)
	return made, nil
}

// digest covers the options and the operator's files. Their paths belong to it
// because errors name them.
func (s sources) digest(options Options) (digest, error) {
	whole := sha256.New()
	write := json.NewEncoder(whole) // which keeps values apart
	if err := write.Encode(options); err != nil {
		return digest{}, fmt.Errorf("telling the pages from others: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.overrides)) {
		theirs := s.overrides[name]
		if err := write.Encode([]any{theirs.file, theirs.content}); err != nil {
			return digest{}, fmt.Errorf("telling the pages from others: %w", err)
		}
	}
	return digest(whole.Sum(nil)), nil
}
