package importing

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// User is somebody who is to be added.
type User struct {
	Line        int      `json:"line"` // of the file
	Name        string   `json:"name"`
	DisplayName string   `json:"display_name,omitempty"`
	Email       string   `json:"email,omitempty"`
	Groups      []string `json:"groups,omitempty"`
	Disabled    bool     `json:"disabled,omitempty"`
	// PasswordHash is as the other program wrote it; empty: there is none.
	PasswordHash string `json:"password_hash,omitempty"`
	// TOTP are authenticator apps.
	TOTP []TOTP `json:"totp,omitempty"`
}

// TOTP is an authenticator app. Zero values stand for what authenticator apps assume:
// SHA1, 6 digits and 30 seconds.
type TOTP struct {
	Secret    string `json:"secret"` // base32
	Algorithm string `json:"algorithm,omitempty"`
	Digits    int    `json:"digits,omitempty"`
	Period    int    `json:"period,omitempty"` // seconds
}

// Problem is what is wrong with one line.
type Problem struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// Format is the format of a file.
type Format string

// The formats.
const (
	CSV           Format = "csv"
	JSON          Format = "json"
	Htpasswd      Format = "htpasswd"
	Authelia      Format = "authelia"
	CaddySecurity Format = "caddy-security"
)

// parsers read each format. An error means that the file as a whole can't be read.
var parsers = map[Format]func(content []byte) ([]User, []Problem, error){
	CSV: parseCSV, JSON: parseJSON, Htpasswd: parseHtpasswd, Authelia: parseAuthelia, CaddySecurity: parseCaddySecurity,
}

// Formats returns the names of all formats, sorted.
func Formats() []string {
	names := make([]string, 0, len(parsers))
	for format := range parsers {
		names = append(names, string(format))
	}
	slices.Sort(names)
	return names
}

// Guess returns the format that a file seems to have by its name and content; empty: it
// can't be told.
func Guess(path string, content []byte) Format {
	name := strings.ToLower(filepath.Base(path))
	switch extension := filepath.Ext(name); {
	case strings.Contains(name, "htpasswd"):
		return Htpasswd
	case extension == ".csv":
		return CSV
	case extension == ".yml" || extension == ".yaml":
		return Authelia
	case extension == ".json" && bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")):
		return CaddySecurity
	case extension == ".json":
		return JSON
	}
	return ""
}

// Parse reads a file. What is wrong with single lines is in problems; users are those of
// all other lines.
func Parse(format Format, content []byte) (users []User, problems []Problem, err error) {
	parse, known := parsers[format]
	if !known {
		return nil, nil, fmt.Errorf("unknown format %q: the formats are %s", format, strings.Join(Formats(), ", "))
	}
	users, problems, err = parse(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, nil, err
	}
	if len(users) == 0 && len(problems) == 0 {
		return nil, nil, errors.New("the file has no users")
	}
	return users, problems, nil
}

// Join adds the authenticator apps that another file names to their users. It returns a
// problem for each name that isn't among the users.
func Join(users []User, apps map[string][]TOTP) []Problem {
	for i, user := range users {
		users[i].TOTP = append(user.TOTP, apps[user.Name]...)
		delete(apps, user.Name)
	}
	var problems []Problem
	for name := range apps {
		problems = append(problems, Problem{Error: fmt.Sprintf("there is an authenticator app of %q, who isn't among the users", name)})
	}
	slices.SortFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Error, b.Error) })
	return problems
}

// lines counts the lines of a file.
type lines struct {
	content []byte
	counted int64
	line    int
}

// at returns the line of a position, which must not be before that of the last call.
func (l *lines) at(offset int64) int {
	l.line += bytes.Count(l.content[l.counted:offset], []byte("\n"))
	l.counted = offset
	return 1 + l.line
}
