package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer/internal/strictjson"
)

type inner struct {
	AAL string `json:"aal"`
}

type doc struct {
	Name   string          `json:"name"`
	TTL    int64           `json:"ttl,omitempty"`
	On     bool            `json:"on"`
	At     time.Time       `json:"at"`
	Opt    *inner          `json:"opt"`
	List   []inner         `json:"list"`
	Raw    json.RawMessage `json:"raw"`
	Hidden string          `json:"-"`
}

func TestDecode(t *testing.T) {
	var d doc
	require.NoError(t, strictjson.Decode([]byte(`{"name":"n","ttl":5,"on":true,"at":"2030-01-02T03:04:05+01:00",
		"opt":{"aal":"aal1"},"list":[{"aal":"a"},{"aal":"b"}],"raw":{"x":[1, 2]}}`), &d))
	assert.Equal(t, doc{Name: "n", TTL: 5, On: true, At: time.Date(2030, 1, 2, 2, 4, 5, 0, time.UTC),
		Opt: &inner{"aal1"}, List: []inner{{"a"}, {"b"}}, Raw: json.RawMessage(`{"x":[1, 2]}`)}, d)

	d = doc{}
	require.NoError(t, strictjson.Decode([]byte(`{"opt":null,"list":null,"raw":null}`), &d))
	assert.Equal(t, doc{}, d)
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ src, want string }{
		"unknown":         {`{"nmae":"n"}`, `nmae: unknown member; known are name, ttl, on, at, opt, list, raw`},
		"other case":      {`{"Name":"n"}`, `Name: unknown member`},
		"hidden":          {`{"-":"n"}`, `-: unknown member`},
		"nested unknown":  {`{"list":[{"aal":"a"},{"x":1}]}`, `list[1].x: unknown member`},
		"twice":           {`{"name":"a","name":"b"}`, `is not strict JSON at byte`},
		"trailing":        {`{} {}`, `is not strict JSON at byte 3`},
		"empty":           {``, `is not strict JSON at byte 0`},
		"array":           {`[]`, `must be a JSON object, is an array`},
		"null document":   {`null`, `must be a JSON object, is null`},
		"string for int":  {`{"ttl":"5"}`, `ttl: must be a whole number, is a string`},
		"fraction":        {`{"ttl":1.5}`, `ttl: must be a whole number`},
		"too big":         {`{"ttl":99999999999999999999}`, `ttl: must be a whole number`},
		"null string":     {`{"name":null}`, `name: must be a string, is null`},
		"number for bool": {`{"on":1}`, `on: must be true or false, is a number`},
		"object for list": {`{"list":{}}`, `list: must be an array, is an object`},
		"array for opt":   {`{"opt":[]}`, `opt: must be an object, is an array`},
		"time":            {`{"at":"yesterday"}`, `at: must be a time such as`},
		"time as number":  {`{"at":5}`, `at: must be a time such as`},
		"deep":            {`{"raw":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, `is over the bounds`},
	} {
		t.Run(name, func(t *testing.T) {
			var d doc
			err := strictjson.Decode([]byte(tc.src), &d)
			var faults strictjson.Faults
			require.ErrorAs(t, err, &faults)
			assert.ErrorContains(t, err, tc.want)
		})
	}
	var d doc
	err := strictjson.Decode([]byte(`{"ttl":"x","on":3,"zz":1}`), &d)
	assert.Len(t, err, 3, "all faults at once")
	assert.Error(t, strictjson.Decode([]byte(`{}`), d), "not a pointer")
}
