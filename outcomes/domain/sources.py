"""PURE: where each figure comes from, for "how is this computed?": formula, convention and who published it."""

PERFORMANCE_SOURCES = {
    "win_rate": (
        "Wins / closed trades. A win is a P&L above 0; scratches (exactly 0) count as trades, passes do not. The interval is "
        "Wilson's, 95 %: E. B. Wilson, Journal of the American Statistical Association 22, 1927."
    ),
    "pass_rate": (
        "Passes / answers of the engine in this role: real and twin where the policy named it to execute, shadow elsewhere. "
        "Wilson 1927, 95 %."
    ),
    "average_pnl": (
        "Total / closed trades, in currency; the interval is mean ± t(n - 1) × sd / √n, 95 %: Student, Biometrika 6, 1908. "
        "For one look at independent trades; to compare the engines read the comparison instead."
    ),
    "profit_factor": "Gross profit / gross loss.",
    "payoff_ratio": "Average win / average loss.",
    "max_drawdown": (
        "Largest fall of the cumulated closed P&L from its highest point so far, the start at 0 included; order of closing."
    ),
    "sharpe_ratio": (
        "Mean / standard deviation (ddof 1) of the P&L per trade, risk-free rate 0, not annualised: W. F. Sharpe, Journal of "
        "Portfolio Management 21(1), 1994."
    ),
    "sharpe_standard_error": (
        "√((1 - γ₃ SR + (γ₄ - 1)/4 SR²)/(n - 1)), γ₃ = m₃/m₂^1.5 and γ₄ = m₄/m₂² (3 for a normal distribution) of the "
        "sample: E. Mertens 2002; J. D. Opdyke, Journal of Asset Management 8, 2007."
    ),
    "annualised_sharpe_ratio": (
        "Mean / standard deviation (ddof 1) of the P&L per day × √252, risk-free rate 0, from 20 days on; its standard error "
        "likewise: A. W. Lo, Financial Analysts Journal 58(4), 2002. Days: every Monday to Friday from the first to the last "
        "day (UTC) with a closed trade, and weekend days with one; a day without a trade counts 0."
    ),
    "sortino_ratio": (
        "Mean / √(Σ min(P&L, 0)² / n) per trade, target 0, n all trades, not annualised: F. A. Sortino & L. N. Price, Journal of "
        "Investing 3(3), 1994."
    ),
    "probabilistic_sharpe_ratio_2012": (
        "Φ(SR / standard error): the probability that the true Sharpe ratio per trade is above 0, in the form of D. H. Bailey & "
        "M. López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2), 2012."
    ),
    "minimum_track_record_length": (
        "1 + (1 - γ₃ SR + (γ₄ - 1)/4 SR²)(1.645 / SR)²: trades after which a Sharpe ratio above 0 is shown, one-sided at 95 %. "
        "D. H. Bailey & M. López de Prado 2012."
    ),
}

COMPARISON_SOURCES = {
    "pairs": "Shadow against shadow; the engine that executed contributes the twin of its real trade. A PASS counts 0.",
    "R": "P&L / capital at risk: the recommendation's max_loss, else premium × quantity × multiplier of a bought contract.",
    "standard_error": (
        "Clustered by day of completion (or ISO week): √(G/(G - 1) Σ(S - n D̄)²)/N. K.-Y. Liang & S. L. Zeger, Biometrika 73, 1986."
    ),
    "interval": (
        "Any-time-valid confidence sequence, t-mixture, alpha 0.05: D̄ ± SE √(ν(w - 1)/(1 - w/R)), R = 1 + G ρ², ν = G - 1, "
        "w = (√R/α)^(2/(ν + 1)); M. Lindon, D. W. Ham, M. Tingley & I. Bojinov, arXiv 2210.08589, 2022. "
        "ρ² = (-2 ln α + ln(1 - 2 ln α))/n*, n* = 100 days (20 weeks): I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy & "
        "A. Ramdas, arXiv 2103.06476, 2021 (Annals of Statistics 52, 2024)."
    ),
    "p_value": (
        "1 / the largest value of the same mixture's likelihood ratio at the ends of days, from the first day with a verdict: the "
        "running minimum. H. Robbins, Annals of Mathematical Statistics 41, 1970; T. L. Lai, Annals of Statistics 4, 1976."
    ),
    "needed": (
        "Clusters G at which half width + z(power) × sd/√G reaches the smallest difference worth knowing, at today's spread and "
        "pace."
    ),
    "autocorrelation": (
        "Σ(S_t - S̄)(S_t+1 - S̄)/Σ(S_t - S̄)² of the sums of days; independent days stay within ±1.96/√G: M. S. Bartlett, "
        "Journal of the Royal Statistical Society Supplement 8, 1946."
    ),
    "wins_more_often": (
        "Sequential McNemar test on the pairs in which only one made money: B(b + 1, c + 1)/0.5^(b + c). Q. McNemar, "
        "Psychometrika 12, 1947; H. Robbins 1970. It is about how often, not how much: never read it as better."
    ),
    "assignment": (
        "Sequential beta-binomial test of the variant, uniform prior: B(a + 1, b + 1)/(s^a (1 - s)^b), multiplied over shares. "
        "Alarm at p < 0.01 with at least 8 expected for each. M. Lindon & A. Malek, arXiv 2011.03567, 2020."
    ),
    "execution_cost": "Real trade minus its own twin of the same experiment; the interval is the one of the comparison.",
}
