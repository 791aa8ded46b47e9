package canonical

// FoldHeader returns the form in which names that an app can't tell apart are
// equal.
func FoldHeader(name string) string {
	folded := make([]byte, len(name))
	for i := range len(name) {
		folded[i] = foldHeaderByte(name[i])
	}
	return string(folded)
}

// FoldsTo reports whether a name in the form of FoldHeader is folded. It doesn't
// allocate.
func FoldsTo(name, folded string) bool {
	if len(name) != len(folded) {
		return false
	}
	for i := range len(name) {
		if foldHeaderByte(name[i]) != folded[i] {
			return false
		}
	}
	return true
}

// FoldsToAny reports whether a name in the form of FoldHeader is one of these.
func FoldsToAny(name string, folded []string) bool {
	for _, other := range folded {
		if FoldsTo(name, other) {
			return true
		}
	}
	return false
}

func foldHeaderByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}
