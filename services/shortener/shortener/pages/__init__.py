"""The face for people: plain HTML that works without JavaScript. `shell` renders and reads forms, `shown` puts values
into words, and each other module answers for one part of the site."""
