package strength

import "math"

const (
	firstYear, lastYear = 1930, 2035
	// yearBits stands for the sixty years or so that guessers try first.
	yearBits = 6
)

// dateTokens returns years, and dates in the orders that people write, with and
// without separators.
func (r *reading) dateTokens() []token {
	var all []token
	for from := range r.lower {
		if year, ok := r.number(from, 4); ok && isYear(year) {
			all = append(all, token{from: from, to: from + 4, bits: yearBits, basis: Pattern})
		}
		for _, widths := range [...][3]int{{2, 2, 4}, {4, 2, 2}, {2, 2, 2}, {1, 2, 4}, {2, 1, 4}, {1, 1, 4}, {4, 1, 1}, {1, 2, 2}, {2, 1, 2}, {1, 1, 2}} {
			if to, separated := r.date(from, widths); to > 0 {
				bits := yearBits + math.Log2(365) + 1
				if separated {
					bits++
				}
				all = append(all, token{from: from, to: to, bits: bits, basis: Pattern})
			}
		}
	}
	return all
}

// date reads three numbers of these widths as a date, and returns its end; 0:
// they are none. Numbers of one digit need separators to be told apart.
func (r *reading) date(from int, widths [3]int) (end int, separated bool) {
	var parts [3]int
	at := from
	var separator rune
	for i, width := range widths {
		if i > 0 && at < len(r.lower) && isSeparator(r.lower[at]) && (i == 1 || r.lower[at] == separator) {
			separator = r.lower[at]
			at++
		} else if separator != 0 {
			return 0, false
		}
		number, ok := r.number(at, width)
		if !ok {
			return 0, false
		}
		parts[i] = number
		at += width
	}
	if separator == 0 && (widths[0] == 1 || widths[1] == 1) {
		return 0, false
	}
	if widths[0] == 4 {
		parts[0], parts[2] = parts[2], parts[0]
	}
	if widths[0] == 4 || widths[2] == 4 {
		if !isYear(parts[2]) {
			return 0, false
		}
	}
	if !isDayAndMonth(parts[0], parts[1]) && !isDayAndMonth(parts[1], parts[0]) {
		return 0, false
	}
	return at, separator != 0
}

func (r *reading) number(from, width int) (int, bool) {
	if from+width > len(r.lower) {
		return 0, false
	}
	number := 0
	for _, c := range r.lower[from : from+width] {
		if c < '0' || c > '9' {
			return 0, false
		}
		number = 10*number + int(c-'0')
	}
	return number, true
}

func isSeparator(c rune) bool { return c == '.' || c == '-' || c == '/' || c == '_' || c == ' ' }

func isYear(year int) bool { return year >= firstYear && year <= lastYear }

func isDayAndMonth(day, month int) bool { return day >= 1 && day <= 31 && month >= 1 && month <= 12 }
