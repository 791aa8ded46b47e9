// Package factortest puts questions of factors in tests as a flow does: it begins
// them once and shows them. It must not know any factor.
package factortest

import (
	"context"

	"github.com/portcullis-mfa/portcullis/factors"
)

// Question is a question as the browser and the server have it.
type Question struct {
	Page  any
	File  *factors.File
	State []byte
}

// Begun puts a question and shows it.
func Begun(ctx context.Context, c factors.Ceremony, a factors.Asking) (Question, error) {
	turn, err := c.Begin(ctx, a)
	if err != nil {
		return Question{}, err
	}
	return Resumed(ctx, c, a, turn.State)
}

// Resumed shows a question once more.
func Resumed(ctx context.Context, c factors.Ceremony, a factors.Asking, state []byte) (Question, error) {
	page, err := c.Resume(ctx, a, state)
	return Question{page.Content, page.File, state}, err
}
