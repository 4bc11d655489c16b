"""What all tabs share: page, session, uploads, HTML, scripts."""
