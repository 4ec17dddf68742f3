// h2echo serves HTTP/2 without TLS: each request is answered with what came of it, as JSON.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: h2echo NAME ADDRESS:PORT")
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Addr: os.Args[2], Protocols: &protocols, Handler: http.HandlerFunc(echo)}
	log.Fatal(server.ListenAndServe())
}

func echo(answer http.ResponseWriter, request *http.Request) {
	length, err := io.Copy(io.Discard, request.Body)
	if err != nil {
		// The client has gone, or broke the protocol: there is nobody to tell.
		panic(http.ErrAbortHandler)
	}
	answer.Header().Set("content-type", "application/json")
	json.NewEncoder(answer).Encode(map[string]any{
		"name":   os.Args[1],
		"peer":   request.RemoteAddr,
		"proto":  request.Proto,
		"method": request.Method,
		"path":   request.RequestURI,
		"host":   request.Host,
		"header": request.Header,
		"length": length,
	})
}
