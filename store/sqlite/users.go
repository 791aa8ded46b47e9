package sqlite

import (
	"context"
	"database/sql"
	"strings"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	userColumns      = `id, name, display_name, email, groups, status, new_password, language, zone, created, version`
	selectUserByName = `SELECT ` + userColumns + ` FROM users WHERE name = ?`
	// The second condition lets the partial index serve, and nobody be found
	// by an empty address.
	selectUserByEmail = `SELECT ` + userColumns + ` FROM users WHERE email = ? AND email <> ''`
)

var selectUserByID = `SELECT ` + nameless(userColumns) + ` FROM users WHERE id = ?`

func scanUser(row scanner) (store.User, error) {
	var r struct { // one allocation for all that Scan is pointed at
		store.User
		groups  []byte
		created int64
	}
	err := row.Scan(&r.ID, &r.Name, &r.DisplayName, &r.Email, &r.groups, &r.Status, &r.NewPassword, &r.Language, &r.Zone, &r.created, &r.Version)
	if err != nil {
		return store.User{}, err
	}
	r.Created = fromMicros(r.created)
	r.Groups, err = decode[[]string](r.groups)
	return r.User, err
}

// CreateUser implements store.Users.
func (o operations) CreateUser(ctx context.Context, u store.User) error {
	const doing = "creating a user"
	groups, err := encode(u.Groups, len(u.Groups))
	if err != nil {
		return failed(ctx, doing, err)
	}
	_, err = o.change(ctx, doing, statement{
		`INSERT INTO users (` + userColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		[]any{u.ID, u.Name, u.DisplayName, u.Email, groups, string(u.Status), u.NewPassword, u.Language, u.Zone, micros(u.Created)},
	}, untold)
	return err
}

// UserByID implements store.Users.
func (o operations) UserByID(ctx context.Context, id string) (store.User, error) {
	return one(ctx, "reading a user", o.rows.QueryRowContext(ctx, selectUserByID, id), scanUser)
}

// UserByName implements store.Users.
func (o operations) UserByName(ctx context.Context, name string) (store.User, error) {
	return one(ctx, "reading a user by name", o.rows.QueryRowContext(ctx, selectUserByName, name), scanUser)
}

// UserByEmail implements store.Users.
func (o operations) UserByEmail(ctx context.Context, email string) (store.User, error) {
	return one(ctx, "reading a user by address", o.rows.QueryRowContext(ctx, selectUserByEmail, email), scanUser)
}

// UpdateUser implements store.Users.
func (o operations) UpdateUser(ctx context.Context, u store.User) error {
	const doing = "updating a user"
	groups, err := encode(u.Groups, len(u.Groups))
	if err != nil {
		return failed(ctx, doing, err)
	}
	if u.Status == store.UserDisabled {
		o = o.takingAway()
	}
	return o.compareAndSet(ctx, doing, statement{
		`UPDATE users SET name = ?, display_name = ?, email = ?, groups = ?, status = ?, new_password = ?, language = ?, zone = ?, version = version + 1
		 WHERE id = ? AND version = ?`,
		[]any{u.Name, u.DisplayName, u.Email, groups, string(u.Status), u.NewPassword, u.Language, u.Zone, u.ID, u.Version},
	}, statement{`SELECT 1 FROM users WHERE id = ?`, []any{u.ID}}, store.Change{Kind: store.UserChanged, ID: u.ID})
}

// DeleteUser implements store.Users.
func (o operations) DeleteUser(ctx context.Context, id string) error {
	const doing = "deleting a user"
	remove := func(rows *transaction, sql string) (int64, error) {
		result, err := rows.ExecContext(ctx, sql, id)
		if err != nil {
			return 0, failed(ctx, doing, err)
		}
		deleted, err := result.RowsAffected()
		return deleted, failed(ctx, doing, err)
	}
	return o.takingAway().write(ctx, func(rows *transaction) error {
		signOns, err := list(ctx, doing, rows, statement{`DELETE FROM sign_ons WHERE user_id = ? RETURNING id`, []any{id}}, scanText)
		if err != nil {
			return err
		}
		devices, err := list(ctx, doing, rows, statement{
			`DELETE FROM device_certificates WHERE device_id IN (SELECT id FROM devices WHERE user_id = ?) RETURNING certificate`, []any{id},
		}, scanText)
		if err != nil {
			return err
		}
		tokens, err := list(ctx, doing, rows, statement{`DELETE FROM access_tokens WHERE user_id = ? RETURNING selector`, []any{id}}, scanText)
		if err != nil {
			return err
		}
		var deleted int64
		// Records come last, as they alone can be there without the user: a
		// refusal must leave them, whatever else its transaction does.
		for _, deletion := range []string{
			`DELETE FROM devices WHERE user_id = ?`,
			`DELETE FROM credentials WHERE user_id = ?`,
			`DELETE FROM browsers WHERE user_id = ?`,
			`DELETE FROM messages WHERE user_id = ?`,
			`DELETE FROM users WHERE id = ?`,
		} {
			if deleted, err = remove(rows, deletion); err != nil {
				return err
			}
		}
		if deleted == 0 {
			return failed(ctx, doing, sql.ErrNoRows)
		}
		if _, err := remove(rows, `DELETE FROM records WHERE owner = ? AND owner <> ''`); err != nil {
			return err
		}
		rows.noteEnded(signOns)
		rows.noteDevices(devices)
		rows.noteAccessTokens(tokens)
		rows.note(store.Change{Kind: store.UserChanged, ID: id})
		return nil
	})
}

// ListUsers implements store.Users.
func (o operations) ListUsers(ctx context.Context, page store.Page[store.User]) ([]store.User, error) {
	return list(ctx, "listing users", o.rows, statement{
		`SELECT ` + userColumns + ` FROM users WHERE name > ? ORDER BY name LIMIT ?`, []any{page.After.Name, page.Size()},
	}, scanUser)
}

// CountUsers implements store.Users.
func (o operations) CountUsers(ctx context.Context, states ...store.UserStatus) (int, error) {
	query := statement{sql: `SELECT count(*) FROM users`}
	if len(states) > 0 {
		query.sql += ` WHERE status IN (?` + strings.Repeat(`, ?`, len(states)-1) + `)`
		for _, state := range states {
			query.args = append(query.args, string(state))
		}
	}
	var count int
	err := o.rows.QueryRowContext(ctx, query.sql, query.args...).Scan(&count)
	return count, failed(ctx, "counting users", err)
}
