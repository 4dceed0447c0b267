"""What is done by hand: the local AWS leaves a SAM HTTP API without routes, so they are made from the template."""

from __future__ import annotations

import re
from typing import Any


def create_routes(stack: str, api: str) -> str:
    """Make the routes of a deployed stack's HTTP API, as the processed template names them; gives the API's id."""
    import boto3

    template: Any = boto3.client("cloudformation").get_template(StackName=stack, TemplateStage="Processed")
    resources = template["TemplateBody"]["Resources"]
    physical = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for one in boto3.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    }
    gateway, functions = boto3.client("apigatewayv2"), boto3.client("lambda")
    paths = resources[api]["Properties"]["Body"]["paths"]
    made: dict[str, str] = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            uri = str(operation["x-amazon-apigateway-integration"]["uri"])
            name = re.search(r"functions/\$\{(\w+)(?:\.Arn)?\}", uri)
            assert name, uri
            function = name[1]
            if function not in made:
                arn = physical[function]  # of an alias
                if not arn.startswith("arn:"):
                    arn = functions.get_function(FunctionName=arn)["Configuration"]["FunctionArn"]
                made[function] = gateway.create_integration(
                    ApiId=physical[api],
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=arn,
                    PayloadFormatVersion="2.0",
                )["IntegrationId"]
            gateway.create_route(
                ApiId=physical[api],
                RouteKey=f"{method.upper()} {path}",
                Target=f"integrations/{made[function]}",
            )
    return str(physical[api])
