package notifications_test

import (
	"fmt"
	"testing"

	"github.com/regcast/regcast/notifications"
)

// TestNames compares what is taken as a repository, tag or digest with what the packages
// of the vocabulary take, for every short word of the characters that matter.
func TestNames(t *testing.T) {
	var words []string
	for length, last := 1, []string{""}; length <= 5; length++ {
		var longer []string
		for _, w := range last {
			for _, c := range "a0._-/A:" {
				longer = append(longer, w+string(c))
			}
		}
		words, last = append(words, longer...), longer
	}
	words = append(words, "a--b", "a___b", "a_-b", "localhost/a", "localhost:5000/a", "[::1]/a", "ä", "a/b/c/d", "a b")
	for _, w := range words {
		sound := func(member string) bool {
			_, err := notifications.ParseEvent(fmt.Sprintf(`{"id":"1","action":"push","target":{%s}}`, member))
			return err == nil
		}
		if got, want := sound(fmt.Sprintf(`"repository":%q`, w)), soundNames(w, "", ""); got != want {
			t.Errorf("repository %q taken: %t, want %t", w, got, want)
		}
		if got, want := sound(fmt.Sprintf(`"repository":"a","tag":%q`, w)), soundNames("a", w, ""); got != want {
			t.Errorf("tag %q taken: %t, want %t", w, got, want)
		}
		if got, want := sound(fmt.Sprintf(`"repository":"a","digest":%q`, w)), soundNames("a", "", w); got != want {
			t.Errorf("digest %q taken: %t, want %t", w, got, want)
		}
	}
}
