//go:build !sgtest

package guest

import "sessiongate/verifier/filter"

func sabotage(*filter.Request) {}
