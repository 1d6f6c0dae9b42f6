// Command bot answers every message that is sent to it.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/metaim/metaim/messenger"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bot, err := messenger.Login(ctx, messenger.Credentials{Server: os.Getenv("METAIM_SERVER"),
		Home: os.Getenv("METAIM_HOME"), Label: "bot", Passphrase: os.Getenv("METAIM_PASSPHRASE")})
	if err != nil {
		log.Fatal(err)
	}
	defer bot.Close()
	for message, err := range bot.Incoming(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if err := bot.Answer(ctx, message, "You wrote: "+message.Text); err != nil {
			log.Print(err)
		}
	}
}
