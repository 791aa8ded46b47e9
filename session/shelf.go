package session

import "encoding/binary"

// shelf keeps rows in their encoded form, by id. It holds many more rows than are
// kept ready for use, in memory without pointers, which the garbage collector
// skips. It grows up to the memory that it was given and no more: the rows that
// nobody has asked for in the longest time are forgotten.
//
// It is in two halves. When the newer one is full, it becomes the older one, and
// the rows of the former older half are forgotten.
type shelf struct {
	newer, older half
	most         int // bytes that a half may take
	// epoch is the one in which all that is on the shelf was read.
	epoch *epoch
}

type half struct {
	entries []byte            // each is the length of its id, of its value, then both
	at      map[uint64]uint32 // where the entry begins, by the hash of its id
}

// entryHead is how many bytes come before the id of an entry.
const entryHead = 4

// newShelf returns a shelf that takes size bytes, grows to most bytes, and takes
// about a fifth of that again to find things.
func newShelf(size, most int) shelf {
	return shelf{newer: newHalf(size / 2), older: newHalf(size / 2), most: most / 2}
}

func newHalf(size int) half {
	return half{entries: make([]byte, 0, size), at: make(map[uint64]uint32)}
}

// put puts a row on the shelf. One that would take more than an eighth of a half
// is left out.
func (s *shelf) put(hash uint64, id string, value []byte) {
	size := entryHead + len(id) + len(value)
	if size > cap(s.newer.entries)/8 || len(id) > 1<<16-1 || len(value) > 1<<16-1 {
		s.drop(hash)
		return
	}
	if len(s.newer.entries)+size > cap(s.newer.entries) {
		s.turn()
	}
	delete(s.older.at, hash)
	s.newer.at[hash] = uint32(len(s.newer.entries))
	entry := binary.BigEndian.AppendUint16(s.newer.entries, uint16(len(id)))
	entry = binary.BigEndian.AppendUint16(entry, uint16(len(value)))
	s.newer.entries = append(append(entry, id...), value...)
}

// turn makes room in the newer half, which becomes the older one.
func (s *shelf) turn() {
	s.newer, s.older = s.older, s.newer
	if cap(s.newer.entries) < s.most {
		s.newer = newHalf(min(2*cap(s.older.entries), s.most))
		return
	}
	s.newer.clear()
}

// get returns the value of a row, which must not be kept: it changes with the
// shelf.
func (s *shelf) get(hash uint64, id string) ([]byte, bool) {
	if value, ok := s.newer.get(hash, id); ok {
		return value, true
	}
	value, ok := s.older.get(hash, id)
	if ok && len(s.newer.entries)+entryHead+len(id)+len(value) <= cap(s.newer.entries) {
		s.put(hash, id, value) // it is in use
	}
	return value, ok
}

func (h *half) get(hash uint64, id string) ([]byte, bool) {
	at, ok := h.at[hash]
	if !ok {
		return nil, false
	}
	entry := h.entries[at:]
	ends := entryHead + int(binary.BigEndian.Uint16(entry))
	if string(entry[entryHead:ends]) != id {
		return nil, false // another id with the same hash
	}
	return entry[ends : ends+int(binary.BigEndian.Uint16(entry[2:]))], true
}

func (s *shelf) drop(hash uint64) {
	delete(s.newer.at, hash)
	delete(s.older.at, hash)
}

func (s *shelf) clear() {
	s.newer.clear()
	s.older.clear()
}

func (h *half) clear() {
	h.entries = h.entries[:0]
	clear(h.at)
}
