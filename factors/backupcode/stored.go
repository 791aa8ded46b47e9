package backupcode

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// codeSet is what a credential keeps, in JSON.
type codeSet struct {
	Codes []entry `json:"codes"`
}

// entry is one code.
type entry struct {
	Selector string    `json:"selector"`
	Hash     string    `json:"hash"`          // of the whole code, PHC format
	Used     time.Time `json:"used,omitzero"` // zero: not yet
}

// find returns the index of the entry that alone can be the code's, or -1.
func (s codeSet) find(code string) int {
	for i, e := range s.Codes {
		if strings.HasPrefix(code, e.Selector) {
			return i
		}
	}
	return -1
}

func (s codeSet) marshal() ([]byte, error) {
	written, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing backup codes: %w", err)
	}
	return written, nil
}

// parseSet reads what marshal wrote. Its errors quote nothing of it.
func parseSet(written []byte) (codeSet, error) {
	var set codeSet
	if json.Unmarshal(written, &set) != nil || len(set.Codes) == 0 {
		return codeSet{}, errors.New("a set of backup codes is not the expected JSON")
	}
	selectors := make(map[string]bool)
	for _, e := range set.Codes {
		if len(e.Selector) != selectorLetters || e.Hash == "" || selectors[e.Selector] {
			return codeSet{}, errors.New("a set of backup codes has an entry without hash or without a selector of its own")
		}
		selectors[e.Selector] = true
	}
	return set, nil
}

// enrolment is the state of an enrolment: codes in canonical form, in clear.
type enrolment struct {
	Codes []string `json:"codes"`
}

func (e enrolment) marshal() ([]byte, error) {
	written, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("writing an enrolment of backup codes: %w", err)
	}
	return written, nil
}

func parseEnrolment(written []byte) (enrolment, error) {
	var begun enrolment
	if json.Unmarshal(written, &begun) != nil || len(begun.Codes) != codesPerSet {
		return enrolment{}, errors.New("an enrolment of backup codes is not the expected JSON")
	}
	for _, code := range begun.Codes {
		if read, ok := canonical(code); !ok || read != code {
			return enrolment{}, errors.New("an enrolment of backup codes holds something else")
		}
	}
	return begun, nil
}
