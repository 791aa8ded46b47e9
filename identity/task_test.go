package identity

import (
	"errors"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// otherProcess stands for a worker in another process.
type otherProcess struct {
	broken bool
	done   int
}

func (o *otherProcess) Do(task Task) (Outcome, error) {
	if o.broken {
		return Outcome{}, errors.New("it has ended")
	}
	o.done++
	return task.Do()
}

// What a worker can't do is done here, and only that leaves garbage here.
func TestHashingElsewhere(t *testing.T) {
	const password = "purple otter 41"
	worker := new(otherProcess)
	hasher := newTestHasher(t, HasherConfig{Queue: NewQueue(worker)})
	stored, err := hasher.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	other, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	imported, err := Import(string(other))
	if err != nil {
		t.Fatal(err)
	}
	verifyAll := func() {
		for _, stored := range []string{stored, imported} {
			for shown, want := range map[string]bool{password: true, "another one": false} {
				if right, err := hasher.Verify(t.Context(), stored, shown); right != want || err != nil {
					t.Errorf("%q against %s: %v, %v", shown, stored, right, err)
				}
			}
		}
	}
	verifyAll()
	if worker.done != 5 || hasher.queue.memory.garbage != 0 {
		t.Errorf("the worker did %d tasks, and there are %d KiB of garbage here", worker.done, hasher.queue.memory.garbage)
	}
	worker.broken = true
	verifyAll()
	if worker.done != 5 || hasher.queue.memory.garbage == 0 {
		t.Errorf("the broken worker did %d tasks, and there are %d KiB of garbage here", worker.done-5, hasher.queue.memory.garbage)
	}
}
