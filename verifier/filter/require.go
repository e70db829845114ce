package filter

import (
	"slices"

	"sessiongate/verdict"
	"sessiongate/verifier/policy"
)

// require checks what the rule wants of a verified token. What no new sign-in can
// mend comes first.
func (f *Filter) require(rule *policy.Rule, now int64) verdict.Reason {
	p := &f.result.Principal
	switch {
	case rule.SessionTypes != nil && !slices.Contains(rule.SessionTypes, p.Type):
		return verdict.SessionType
	case rule.Tenant != "" && p.Tenant != rule.Tenant:
		return verdict.Tenant
	case rule.TenantSegment != "" && (p.Tenant == "" || !spells(f.tenant, p.Tenant, false)):
		return verdict.Tenant
	case rule.PermissionsAny != nil && !slices.ContainsFunc(rule.PermissionsAny, f.permitted):
		return verdict.Permission
	}
	for _, permission := range rule.PermissionsAll {
		if !slices.Contains(p.Permissions, permission) {
			return verdict.Permission
		}
	}
	if rule.Assurance != "" && !reaches(p.Assurance, rule.Assurance) {
		return verdict.Assurance
	}
	if rule.AuthenticationAge != 0 {
		// A time ahead of ours by more than clocks may differ would satisfy every
		// rule for as long as it lies ahead.
		leeway := f.policy.Issuers[f.result.Issuer].Leeway
		if p.AuthenticatedAt == 0 || p.AuthenticatedAt > now+leeway || now-p.AuthenticatedAt > rule.AuthenticationAge {
			return verdict.AuthenticationAge
		}
	}
	return verdict.None
}

func (f *Filter) permitted(permission string) bool {
	return slices.Contains(f.result.Principal.Permissions, permission)
}

// reaches compares levels: aal0 to aal3 have an order, any other acr is only equal
// to itself.
func reaches(has, wants string) bool {
	if has == wants {
		return true
	}
	h, ok1 := level(has)
	w, ok2 := level(wants)
	return ok1 && ok2 && h >= w
}

func level(acr string) (byte, bool) {
	if len(acr) == 4 && acr[:3] == "aal" && acr[3] >= '0' && acr[3] <= '3' {
		return acr[3], true
	}
	return 0, false
}
