"""Long Doc QA: more documents than the engine's cache holds are asked about twice, with and without LMCache below."""
