// Command upstream says whom a request speaks for, as far as it was told.
package main

import (
	"encoding/json"
	"log"
	"net/http"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:9000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Values("X-User-Id")
		if user == nil {
			user = []string{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"path": r.RequestURI, "user": user, "roles": r.Header.Values("X-User-Roles")})
	})))
}
