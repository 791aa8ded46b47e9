package caddymodule

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/gate"
)

// Headers are the request headers that tell an app who is signed in: their names, and
// what they contain.
type Headers struct {
	// User is the header for the sign-in name. Default: Remote-User.
	User string `json:"user,omitempty"`
	// Name is the header for the name to show. Default: Remote-Name.
	Name string `json:"name,omitempty"`
	// Email is the header for the e-mail address. Default: Remote-Email.
	Email string `json:"email,omitempty"`
	// Groups is the header for the groups, separated by commas. Default:
	// Remote-Groups.
	Groups string `json:"groups,omitempty"`

	// GroupsOnly are the groups that the app is told about, in the header and in the
	// assertion. In their names, a star matches any text. Rules still see all groups.
	// Default: all.
	GroupsOnly []string `json:"groups_only,omitempty"`

	// Encoding is how text beyond ASCII is written: percent (Zo%C3%AB, with %25
	// for a percent sign) or utf-8 (as it is, for apps that read headers as
	// UTF-8). Default: percent, since many apps would read UTF-8 as Latin-1.
	Encoding string `json:"encoding,omitempty"`
}

// checked returns the headers, or an error if the gate would refuse them at the
// start, so that `caddy validate` reports it.
func (h *Headers) checked() (Headers, error) {
	if h == nil {
		return Headers{}, nil
	}
	_, err := h.identity()
	return *h, err
}

// identity returns the headers as the gate sets them.
func (h *Headers) identity() (*gate.IdentityHeaders, error) {
	values, err := h.values()
	if err != nil {
		return nil, err
	}
	names := gate.HeaderNames{User: h.User, Name: h.Name, Email: h.Email, Groups: h.Groups}
	return gate.NewIdentityHeaders(names, values)
}

// names returns the names of the headers that tell who is signed in.
func (h *Headers) names() []string {
	standard := gate.DefaultHeaderNames
	return []string{
		cmp.Or(h.User, standard.User), cmp.Or(h.Name, standard.Name), cmp.Or(h.Email, standard.Email), cmp.Or(h.Groups, standard.Groups),
		gate.AssertionHeader, gate.ProgramHeader,
	}
}

func (h *Headers) values() (gate.HeaderValues, error) {
	if h.GroupsOnly != nil && len(h.GroupsOnly) == 0 {
		return gate.HeaderValues{}, errors.New("groups_only names no group: leave it out for all groups")
	}
	for _, pattern := range h.GroupsOnly {
		if err := gate.CheckGroupPattern(pattern); err != nil {
			return gate.HeaderValues{}, err
		}
	}
	isUTF8, err := parseHeaderEncoding(h.Encoding)
	return gate.HeaderValues{UTF8: isUTF8, Groups: h.GroupsOnly}, err
}

// parseHeaderEncoding reports whether text goes out as UTF-8.
func parseHeaderEncoding(written string) (bool, error) {
	switch written {
	case "", "percent":
		return false, nil
	case "utf-8":
		return true, nil
	}
	return false, fmt.Errorf("encoding %q: write percent or utf-8", written)
}
