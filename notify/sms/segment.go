package sms

import "strings"

// longest is how many characters one message has room for in the GSM 7-bit default
// alphabet (3GPP TS 23.038 §6.1.2.1).
const longest = 160

// Characters of that alphabet, and those that take the room of two (§6.2.1).
const (
	single = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	double = "\f^{}\\[~]|€"
)

// FitsOneSegment reports whether a text can be sent as one message, for which
// people and operators pay once, and which can't arrive in part.
func FitsOneSegment(text string) bool {
	length := 0
	for _, r := range text {
		switch {
		case strings.ContainsRune(single, r):
			length++
		case strings.ContainsRune(double, r):
			length += 2
		default:
			return false
		}
	}
	return length <= longest
}
