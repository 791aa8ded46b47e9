package templates

import "fmt"

// ShortMessages writes a text message in a language. It returns several versions, the
// most informative one first, since a name may be too long for one message, or contain
// letters that don't fit into it.
func (s *Set) ShortMessages(language string, view any) ([]string, error) {
	var keys []string
	var values map[string]any
	switch view := view.(type) {
	case CodeMail:
		keys = []string{"sms_message.code", "sms_message.code_alone"}
		if view.Adding {
			keys = []string{"sms_message.adding", "sms_message.code_alone"}
		}
		values = map[string]any{"Code": view.Code, "Brand": view.Brand}
	case TestMail:
		keys = []string{"sms_message.test", "sms_message.test_alone"}
		values = map[string]any{"Brand": view.Brand}
	default:
		return nil, fmt.Errorf("writing a text message: there is none of a %T", view)
	}
	c := s.catalogue(language)
	versions := make([]string, len(keys))
	for i, key := range keys {
		// Not isolated: the marks for that would need an alphabet of two bytes.
		written, err := c.localized("", key, values)
		if err != nil {
			return nil, fmt.Errorf("writing a text message: %w", err)
		}
		versions[i] = written
	}
	return versions, nil
}
