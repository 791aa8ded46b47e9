package importing

import (
	"bytes"
	"encoding/base32"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// columns are the columns that a CSV file may have; name it must have.
var columns = []string{"name", "display_name", "email", "groups", "password_hash", "totp", "disabled"}

func parseCSV(content []byte) (users []User, problems []Problem, err error) {
	rows := csv.NewReader(bytes.NewReader(content))
	head, err := rows.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the first line, which names the columns: %w", err)
	}
	for _, column := range head {
		if !slices.Contains(columns, column) {
			return nil, nil, fmt.Errorf("line 1: unknown column %q: the columns are %s", column, strings.Join(columns, ", "))
		}
	}
	if !slices.Contains(head, "name") {
		return nil, nil, errors.New("line 1: there is no column name")
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return users, problems, nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			if !errors.Is(broken.Err, csv.ErrFieldCount) {
				return nil, nil, fmt.Errorf("line %d: %w", broken.StartLine, broken.Err)
			}
			problems = append(problems, Problem{broken.StartLine, fmt.Sprintf("it has %d columns, and the first line %d", len(row), len(head))})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		line, _ := rows.FieldPos(0)
		user := User{Line: line}
		if err := user.fill(head, row); err != nil {
			problems = append(problems, Problem{line, err.Error()})
			continue
		}
		users = append(users, user)
	}
}

func (u *User) fill(head, row []string) error {
	for i, column := range head {
		value := strings.TrimSpace(row[i])
		switch column {
		case "name":
			u.Name = value
		case "display_name":
			u.DisplayName = value
		case "email":
			u.Email = value
		case "groups":
			for group := range strings.SplitSeq(value, ";") {
				if group = strings.TrimSpace(group); group != "" {
					u.Groups = append(u.Groups, group)
				}
			}
		case "password_hash":
			u.PasswordHash = value
		case "totp":
			if value == "" {
				continue
			}
			app, err := parseTOTP(value)
			if err != nil {
				return err
			}
			u.TOTP = append(u.TOTP, app)
		case "disabled":
			if value == "" {
				continue
			}
			var err error
			if u.Disabled, err = strconv.ParseBool(value); err != nil {
				return fmt.Errorf("disabled is %q: write true or false", value)
			}
		}
	}
	return nil
}

func parseJSON(content []byte) (users []User, problems []Problem, err error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	if start, err := decoder.Token(); err != nil || start != json.Delim('[') {
		return nil, nil, errors.New("it isn't a list of users in JSON")
	}
	count := lines{content: content}
	for decoder.More() {
		line := count.at(elementAt(content, decoder.InputOffset()))
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, nil, fmt.Errorf("line %d: it isn't JSON: %w", line, err)
		}
		var user User
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&user); err != nil {
			problems = append(problems, Problem{line, plainly(err)})
			continue
		}
		user.Line = line
		users = append(users, user)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, nil, fmt.Errorf("the list has no end: %w", err)
	}
	return users, problems, nil
}

// elementAt returns where the next element of a list begins.
func elementAt(content []byte, offset int64) int64 {
	for offset < int64(len(content)) && strings.IndexByte(" \t\r\n,", content[offset]) >= 0 {
		offset++
	}
	return offset
}

// plainly says what is wrong with a value, without quoting it.
func plainly(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("%s can't be a %s", kind.Field, kind.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// parseHtpasswd reads what Apache's htpasswd writes: NAME:HASH.
func parseHtpasswd(content []byte) (users []User, problems []Problem, err error) {
	line := 0
	for written := range strings.Lines(string(content)) {
		line++
		written = strings.TrimSpace(written)
		if written == "" || strings.HasPrefix(written, "#") {
			continue
		}
		name, hash, found := strings.Cut(written, ":")
		if !found || hash == "" {
			problems = append(problems, Problem{line, "it isn't NAME:HASH"})
			continue
		}
		users = append(users, User{Line: line, Name: name, PasswordHash: hash})
	}
	return users, problems, nil
}

// parseAuthelia reads users_database.yml.
func parseAuthelia(content []byte) (users []User, problems []Problem, err error) {
	var file struct {
		Users yaml.Node `yaml:"users"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return nil, nil, fmt.Errorf("it isn't YAML: %w", err)
	}
	if file.Users.Kind != yaml.MappingNode {
		return nil, nil, errors.New("it has no users")
	}
	for i := 0; i+1 < len(file.Users.Content); i += 2 {
		key := file.Users.Content[i]
		var entry struct {
			Disabled    bool     `yaml:"disabled"`
			DisplayName string   `yaml:"displayname"`
			Password    string   `yaml:"password"`
			Email       string   `yaml:"email"`
			Groups      []string `yaml:"groups"`
		}
		if err := file.Users.Content[i+1].Decode(&entry); err != nil {
			problems = append(problems, Problem{key.Line, "it isn't a user: a field has a value of the wrong type"})
			continue
		}
		users = append(users, User{
			Line: key.Line, Name: key.Value, DisplayName: entry.DisplayName, Email: entry.Email, Groups: entry.Groups,
			Disabled: entry.Disabled, PasswordHash: strings.TrimPrefix(entry.Password, "{CRYPT}"),
		})
	}
	return users, problems, nil
}

// securityUser is a user in the users.json of caddy-security.
type securityUser struct {
	Username string `json:"username"`
	Disabled bool   `json:"disabled"`
	Name     *struct {
		First string `json:"first"`
		Last  string `json:"last"`
	} `json:"name"`
	Email *struct {
		Address string `json:"address"`
	} `json:"email_address"`
	Passwords []struct {
		Hash     string    `json:"hash"`
		Expired  bool      `json:"expired"`
		Disabled bool      `json:"disabled"`
		Created  time.Time `json:"created_at"`
	} `json:"passwords"`
	Tokens []struct {
		Type      string `json:"type"`
		Algorithm string `json:"algorithm"`
		Secret    string `json:"secret"` // as it is, not in base32
		Period    int    `json:"period"`
		Digits    int    `json:"digits"`
		Disabled  bool   `json:"disabled"`
	} `json:"mfa_tokens"`
	Roles []struct {
		Name         string `json:"name"`
		Organization string `json:"organization"`
	} `json:"roles"`
}

// parseCaddySecurity reads users.json. Of several passwords the first that is neither
// disabled nor expired counts, as there.
func parseCaddySecurity(content []byte) (users []User, problems []Problem, err error) {
	var file struct {
		Users []json.RawMessage `json:"users"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, nil, fmt.Errorf("it isn't a users.json: %s", plainly(err))
	}
	from, count := 0, lines{content: content}
	for _, raw := range file.Users {
		at := from + bytes.Index(content[from:], raw)
		from = at + len(raw)
		line := count.at(int64(at))
		var entry securityUser
		if err := json.Unmarshal(raw, &entry); err != nil {
			problems = append(problems, Problem{line, plainly(err)})
			continue
		}
		user := entry.user()
		user.Line = line
		users = append(users, user)
	}
	return users, problems, nil
}

func (s securityUser) user() User {
	u := User{Name: s.Username, Disabled: s.Disabled}
	if s.Name != nil {
		u.DisplayName = strings.TrimSpace(s.Name.First + " " + s.Name.Last)
	}
	if s.Email != nil {
		u.Email = s.Email.Address
	}
	for _, password := range s.Passwords {
		if !password.Disabled && !password.Expired {
			u.PasswordHash = password.Hash
			break
		}
	}
	for _, token := range s.Tokens {
		if token.Type == "totp" && !token.Disabled {
			u.TOTP = append(u.TOTP, TOTP{
				Secret:    base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(token.Secret)),
				Algorithm: strings.ToUpper(token.Algorithm), Digits: token.Digits, Period: token.Period,
			})
		}
	}
	for _, role := range s.Roles {
		name := role.Name
		if role.Organization != "" {
			name = role.Organization + "/" + name
		}
		u.Groups = append(u.Groups, name)
	}
	return u
}
